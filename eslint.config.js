/**
 * Lint rules. The kernel's imports point down (docs/architecture.md): root and monitor, then the vendors and devices,
 * then vcpu, x86, lib; machine and abi may be imported from anywhere.
 */
import tseslint from "typescript-eslint";

/** Files below kernel/FOLDER may not import from these other folders. */
function layer(folder, ...forbidden) {
  return {
    files: [`kernel/${folder}/**/*.ts`],
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: forbidden.map((f) => ({
            group: [`../${f}/*`],
            message: `${folder} may not import ${f}`,
          })),
        },
      ],
    },
  };
}

const top = ["root", "monitor", "debug"];
const vendors = ["vmx", "svm"];

export default tseslint.config(
  { ignores: ["build/", "node_modules/", "**/*.brand.ts"] },
  {
    files: ["tools/**/*.ts", "test/**/*.ts", "*.ts"],
    ignores: ["test/images/**", "test/types/**", "test/toolchain/cost/**"],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/restrict-template-expressions": "off",
      "@typescript-eslint/no-base-to-string": "off",
      "@typescript-eslint/no-redundant-type-constituents": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/unbound-method": "off",
    },
  },
  {
    files: ["kernel/**/*.ts", "test/images/**/*.ts"],
    languageOptions: { parser: tseslint.parser },
    rules: {
      "no-dupe-else-if": "error",
      "no-unreachable": "error",
      "no-self-compare": "error",
      eqeqeq: "off",
    },
  },
  layer("abi", ...top, ...vendors, "device", "vcpu", "x86", "lib", "machine"),
  layer("machine", ...top, ...vendors, "device", "vcpu", "x86"),
  layer("lib", ...top, ...vendors, "device", "vcpu", "x86"),
  layer("x86", ...top, ...vendors, "device", "vcpu"),
  layer("vcpu", ...top, ...vendors, "device"),
  // Where the emulator meets memory that is no RAM, it calls the platform.
  {
    files: ["kernel/vcpu/bus.ts"],
    rules: {
      "no-restricted-imports": ["error", { patterns: [{ regex: "^\\.\\./(?!monitor/mmio$|machine/)" }] }],
    },
  },
  layer("device", ...top, ...vendors, "vcpu"),
  layer("vmx", ...top, "svm", "device"),
  layer("svm", ...top, "vmx", "device"),
  layer("monitor", "root", "debug"),
  layer("root", "monitor", "debug", "device"),
  layer("debug", "root", "monitor", "vcpu"),
);
