/** The two ways in which a tool fails, and nothing else is caught by name. */

/** Something asked for cannot be done: bad input, a missing program, a machine that is not available. One line. */
export class Refusal extends Error {
  override name = "Refusal";
}

/** A machine or a boot went wrong while it ran. The message ends with the tail of what it said. */
export class MachineFailure extends Error {
  override name = "MachineFailure";
}
