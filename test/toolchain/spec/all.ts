import { calls } from "./calls.ts";
import { control } from "./control.ts";
import { bulk, loading, segments, storing, trapping } from "./memory.ts";
import { numbers } from "./numbers.ts";

export const suites = [
  numbers(32),
  numbers(64),
  loading(),
  storing(),
  trapping(),
  bulk(),
  segments(),
  control(),
  calls(),
];
