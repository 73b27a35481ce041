/** Debian's kernel without the hypervisor: what the boots with it are compared to, and a test of all the tools. */
import { vi } from "vitest";
import { contract } from "./contract.ts";
import { nightly } from "./harness.ts";

vi.setConfig({ testTimeout: 900_000 });

contract(["--bare", "--machine", "qemu-tcg"], nightly);
