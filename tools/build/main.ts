/** The command behind scripts/build. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { Builder, debugged } from "./image.ts";
import { images, typevisor } from "./modules.ts";
import { printReport } from "./report.ts";

const root = join(import.meta.dirname, "../..");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };

const program = new Command("scripts/build")
  .description("Builds the hypervisor: TypeScript to WebAssembly, to C, to a multiboot image in build/.")
  .version(version)
  .option("--all", "build the test images too")
  .option(
    "--debug",
    `build ${typevisor.name}${debugged.suffix}.elf too: the same wasm, compiled for debuggers, with TypeScript's variables`,
  )
  .option("--quiet", "do not list the modules' imports and the image's sizes")
  .showHelpAfterError("Try scripts/build --help.")
  .parse();
const options = program.opts<{ all?: boolean; debug?: boolean; quiet?: boolean }>();

const start = performance.now();
const seconds = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
try {
  const builder = new Builder(root);
  const wanted = options.all ? images : [typevisor];
  const progress = (text: string) => console.log(`[${seconds()}] ${text}`);
  for (const image of wanted) await builder.build(image, progress);
  if (options.debug) await builder.build(typevisor, progress, debugged);
  if (!options.quiet)
    await printReport(builder, wanted, options.debug ? [typevisor.name + debugged.suffix] : []);
  const ready = options.debug ? ["", debugged.suffix] : [""];
  progress(
    ready.map((suffix) => `build/${typevisor.name}${suffix}.elf`).join(" and ") +
      (options.debug ? " are ready" : " is ready"),
  );
} catch (error) {
  console.error(`scripts/build: ${(error as Error).message}`);
  process.exitCode = 1;
}
