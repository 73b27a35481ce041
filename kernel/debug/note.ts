/** Lines for the person at GDB: print(note()...), one at a time. */
import { Text } from "../lib/text";

/** A line's room: what is beyond is dropped. */
const LINE: u32 = 160;
const text = changetype<Text>(memory.data(16, 4));
const buffer = memory.data(160);

/** An empty line. @noinline */
export function note(): Text {
  return text.over(buffer, LINE);
}
