/**
 * What addr.ts is to tsc: numbers that carry the name of their space. A plain number fits each of them, for arithmetic
 * gives plain numbers; an address of one space does not fit another.
 */
/** Guest-physical. */
export type Gpa = number & { readonly space?: "guest-physical" };
/** Host-physical. */
export type Hpa = number & { readonly space?: "host-physical" };
/** Host-virtual: of root's or of a monitor's page tables. */
export type Hva = number & { readonly space?: "host-virtual" };
