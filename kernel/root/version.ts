/** Which hypervisor this is: the version of package.json and the linker's build id. */
import { Text } from "../lib/text";
import * as image from "../machine/image";

export function banner(out: Text): Text {
  out.str("Typevisor ");
  for (let n: u32 = 0; image.version(n) != 0; n++) out.byte(image.version(n));
  return out.str(" ").rawHex(image.buildId(), 8);
}
