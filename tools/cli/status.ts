/** The exit statuses of scripts/boot: a contract that other scripts build on. */
export const Status = {
  /** The guest powered off; or the text of --until appeared; or the user left. */
  Success: 0,
  /** The guest ended without the text of --until. */
  TextMissing: 1,
  /** Time ran out. */
  Timeout: 2,
  /** The hypervisor or the tool refused or failed. */
  Failure: 3,
  /** The guest reset itself, and --no-reboot was given. */
  Reset: 4,
  /** The guest ended for another reason, which is printed. */
  GuestFailed: 5,
} as const;
export type Status = (typeof Status)[keyof typeof Status];
