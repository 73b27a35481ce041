import { expect, test } from "vitest";
import { PlainText, TextWatch } from "../../tools/machine/plain-text.ts";

const colourful = "\x1b[H\x1b[J\x1b[1;1Hlo\x1b[32mgin\x1b[0m: \r\n\x1b]0;title\x07root\x1b(B \x1b[6n# ";

test("Escape sequences and carriage returns are no text", () => {
  expect(new PlainText().push(colourful)).toBe("login: \nroot # ");
});

test("Cutting the stream anywhere changes nothing", () => {
  for (let size = 1; size <= colourful.length; size++) {
    const plain = new PlainText();
    let text = "";
    for (let at = 0; at < colourful.length; at += size) text += plain.push(colourful.slice(at, at + size));
    expect(text).toBe("login: \nroot # ");
  }
});

test("An escape sequence that never ends hides a bounded amount of text", () => {
  const plain = new PlainText();
  let text = "";
  for (let line = 0; line < 100; line++)
    text += plain.push(line === 0 ? "\x1b]unfinished" : "0123456789012345678\n");
  expect(text.length).toBeGreaterThan(500);
});

test("A text is found however it is cut, and with colours inside", () => {
  const stream = "noise noise wel\x1b[1mcome ho\x1b[0mme noise";
  for (let cut = 0; cut <= stream.length; cut++) {
    const plain = new PlainText();
    const watch = new TextWatch("welcome home");
    watch.push(plain.push(stream.slice(0, cut)));
    expect(watch.push(plain.push(stream.slice(cut)))).toBe(true);
  }
});

test("A text that did not go by is not found, and one that did stays found", () => {
  const watch = new TextWatch("b");
  expect(watch.push("aaa")).toBe(false);
  expect(watch.push("aba")).toBe(true);
  expect(watch.push("aaa")).toBe(true);
});

test("Text cut between repeated beginnings is found", () => {
  const watch = new TextWatch("aab");
  for (const piece of ["a", "a", "a"]) expect(watch.push(piece)).toBe(false);
  expect(watch.push("b")).toBe(true);
});
