import { bootImage } from "../trial/boot.ts";
import { assembleGuest } from "../trial/guests.ts";
const r = await bootImage({ machine: "bochs", exact: true, options: process.argv[2] ?? "", modules: [{ file: assembleGuest("bench"), text: "kernel memory=4M" }] });
console.log(r.log.filter((l) => /cost/.test(l)).join("\n"), r.console.slice(-100));
