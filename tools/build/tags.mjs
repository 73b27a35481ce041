const tagged = /\/\*\*(?:(?!\*\/)[^])*@noinline\b(?:(?!\*\/)[^])*\*\/\s*(?:export )?function (\w+)/g;

/**
 * Names of the functions in a source file whose documentation has the tag `@noinline`.
 *
 * @param {string} source
 * @returns {string[]}
 */
export function taggedFunctions(source) {
  return Array.from(source.matchAll(tagged), ([, name]) => String(name));
}
