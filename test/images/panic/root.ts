/**
 * Root that faults on purpose, in the way that the number of boot modules says, once its console is open. The report is
 * the one that ships.
 */
import { Text } from "../../../kernel/lib/text";
import { boot, readBoot } from "../../../kernel/root/boot";
import { Level, settings } from "../../../kernel/root/log";
import { join as shippedJoin, trap as shippedTrap } from "../../../kernel/root/main";
import { options, readOptions, setDefaults } from "../../../kernel/root/options";
import { useLines } from "../../../kernel/root/lines";
import { module } from "../../../kernel/root/boot";
import { Stride, comIrq, comPort, uart } from "../../../kernel/root/uart";

@unmanaged
class Scratch {
  zero: u32;
  deep: u32;
}

const scratch = changetype<Scratch>(memory.data(8));
const why = changetype<Text>(memory.data(16));

/** Ends only when the stack does. */
function recurse(depth: u32): u32 {
  scratch.deep = depth;
  if (scratch.zero) return 0;
  return recurse(depth + 1) + recurse(depth + 2) + scratch.deep; // fault 5
}

export function start(magic: u32, info: u32): void {
  readBoot(magic, info, why.over(0, 0));
  setDefaults();
  readOptions(why);
  settings.level = Level.Info;
  settings.uart = options.console;
  uart(options.console).open(comPort(options.console), Stride.Port, comIrq(options.console), options.baud);
  // The last module is the line table.
  useLines(module(boot.modules - 1).start, module(boot.modules - 1).size);
  switch (boot.modules - 1) {
    case 1:
      scratch.zero = load<u32>(0x7fff0000); // fault 1
      break;
    case 2:
      unreachable(); // fault 2
      break;
    case 3:
      assert(scratch.zero == 1, "a test wants it"); // fault 3
      break;
    case 4:
      scratch.deep = 7 / scratch.zero; // fault 4
      break;
    case 5:
      scratch.deep = recurse(0);
      break;
    default:
      // Faults again in the report.
      scratch.deep = 0xbad;
      unreachable();
  }
}

export function trap(): void {
  if (scratch.deep == 0xbad) scratch.zero = load<u32>(0x7fff0000);
  shippedTrap();
}

export function join(): void {
  shippedJoin();
}
