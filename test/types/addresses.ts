/** Only for tsc: addresses of different spaces do not mix (kernel/lib/addr.brand.ts). */
import { Gpa, Hpa } from "../../kernel/lib/addr";
import { load8 } from "../../kernel/machine/guest";
import * as phys from "../../kernel/machine/phys";

export function mix(gpa: Gpa, hpa: Hpa): void {
  load8(gpa + 1);
  phys.load8(hpa + 1);
  // @ts-expect-error a host-physical address is no guest-physical one
  load8(hpa);
  // @ts-expect-error a guest-physical address is no host-physical one
  phys.load8(gpa);
}
