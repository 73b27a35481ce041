/** What is counted: each file beside this has its like, by hand, in C. */
export { crc, crcTable } from "./crc32";
export { dispatch } from "./dispatcher";
export { mapPages } from "./pages";
export { ringRead, ringWrite } from "./ring";
export { sortRanges } from "./sort";
