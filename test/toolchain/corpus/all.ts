import { bulk, calls, control, large } from "./handwritten.ts";
import { memory } from "./memory.ts";
import { numeric } from "./numeric.ts";

export const corpora = [numeric("i32"), numeric("i64"), memory(), control(), calls(), bulk(), large()];
