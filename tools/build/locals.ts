/** Writes what wasm3-build --locals reads: where in TypeScript sources which variable is meant. */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import ts from "typescript";

interface Variable {
  name: string;
  /** As asc names the function that declares it. */
  function: string;
  assigned: boolean;
}

/** A place where a variable gets its value, is all that stands there, or begins an expression. */
interface Mention {
  position: number;
  kind: "set" | "get" | "start";
  variable: Variable;
}

type Scope = Map<string, Variable>;

const isAssignment = (kind: ts.SyntaxKind): boolean =>
  kind >= ts.SyntaxKind.FirstAssignment && kind <= ts.SyntaxKind.LastAssignment;

const isStep = (node: ts.Node): node is ts.PrefixUnaryExpression | ts.PostfixUnaryExpression =>
  (ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) &&
  (node.operator === ts.SyntaxKind.PlusPlusToken || node.operator === ts.SyntaxKind.MinusMinusToken);

class SourceReader {
  readonly mentions: Mention[] = [];
  readonly parameters: string[] = [];
  private readonly scopes: Scope[] = [];
  /** Names of the namespaces, the class and so on that is being read, and of the function in them. */
  private path: string;
  private function = "";

  constructor(
    private readonly source: ts.SourceFile,
    file: string,
  ) {
    this.path = `${file.replace(/\.ts$/, "")}/`;
    ts.forEachChild(source, (node) => this.visit(node));
  }

  private find(name: string): Variable | undefined {
    return [...this.scopes]
      .reverse()
      .find((scope) => scope.has(name))
      ?.get(name);
  }

  private mention(node: ts.Node, kind: Mention["kind"], name: string): void {
    const variable = this.find(name);
    if (!variable) return;
    if (kind === "set" && !ts.isVariableDeclarationList(node)) variable.assigned = true;
    this.mentions.push({ position: node.getStart(this.source), kind, variable });
  }

  /** Two variables of one name share it, unless one is in the scope of the other: that gets a number. */
  private declare(scope: Scope, name: string): void {
    const outer = this.scopes.filter((s) => s !== scope && s.has(name)).length;
    scope.set(name, {
      name: outer > 0 ? `${name}_${outer + 1}` : name,
      function: this.function,
      assigned: false,
    });
  }

  private within(names: string[], visit: () => void): void {
    const scope: Scope = new Map();
    this.scopes.push(scope);
    for (const name of names) this.declare(scope, name);
    visit();
    this.scopes.pop();
  }

  private named(suffix: string, node: ts.Node): void {
    const path = this.path;
    this.path += suffix;
    ts.forEachChild(node, (child) => this.visit(child));
    this.path = path;
  }

  private readFunction(node: ts.FunctionLikeDeclaration, name: string, ofInstance: boolean): void {
    if (!node.body) return;
    const [outer, scopes] = [this.function, this.scopes.splice(0)];
    this.function = this.path + name;
    const names = node.parameters.map((p) => p.name.getText(this.source));
    if (ofInstance) names.unshift("this");
    this.parameters.push(["parameters", this.function, ...names].join(" "));
    this.within(names, () => this.visit(node.body!));
    this.scopes.push(...scopes);
    this.function = outer;
  }

  /** The names that a block declares for itself. */
  private declaredIn(statements: readonly ts.Node[]): string[] {
    return statements
      .flatMap((s) => (ts.isVariableStatement(s) ? s.declarationList : s))
      .flatMap((s) => (ts.isVariableDeclarationList(s) ? s.declarations : []))
      .map((declaration) => declaration.name.getText(this.source));
  }

  private visit(node: ts.Node): void {
    const children = () => ts.forEachChild(node, (child) => this.visit(child));
    if (ts.isModuleDeclaration(node)) return this.named(`${node.name.text}.`, node);
    if (ts.isClassDeclaration(node)) {
      const path = this.path;
      for (const member of node.members) {
        const isStatic =
          ts.canHaveModifiers(member) &&
          ts.getModifiers(member)?.some((m) => m.kind === ts.SyntaxKind.StaticKeyword);
        this.path = `${path}${node.name?.text ?? ""}${isStatic ? "." : "#"}`;
        const name = member.name?.getText(this.source) ?? "";
        if (ts.isMethodDeclaration(member)) this.readFunction(member, name, !isStatic);
        else if (ts.isGetAccessor(member)) this.readFunction(member, `get:${name}`, !isStatic);
        else if (ts.isSetAccessor(member)) this.readFunction(member, `set:${name}`, !isStatic);
        else if (ts.isConstructorDeclaration(member)) this.readFunction(member, "constructor", true);
      }
      this.path = path;
      return;
    }
    if (ts.isFunctionDeclaration(node)) return this.readFunction(node, node.name?.text ?? "", false);
    if (ts.isFunctionExpression(node) || ts.isArrowFunction(node))
      return this.readFunction(node, "~anonymous", false);
    if (this.function === "") return children();

    if (ts.isBlock(node)) return this.within(this.declaredIn(node.statements), children);
    if (ts.isCaseBlock(node))
      return this.within(this.declaredIn(node.clauses.flatMap((c) => [...c.statements])), children);
    if (ts.isForStatement(node))
      return this.within(node.initializer ? this.declaredIn([node.initializer]) : [], children);
    if (ts.isVariableDeclarationList(node) && node.declarations.length === 1)
      this.mention(node, "set", node.declarations[0]!.name.getText(this.source));
    if (ts.isVariableDeclaration(node)) return node.initializer && this.visit(node.initializer);
    if (ts.isBinaryExpression(node) && isAssignment(node.operatorToken.kind) && ts.isIdentifier(node.left))
      this.mention(node, "set", node.left.text);
    if (isStep(node) && ts.isIdentifier(node.operand)) this.mention(node, "set", node.operand.text);
    if (ts.isPropertyAccessExpression(node)) return this.visit(node.expression);
    if (ts.isTypeNode(node) && !ts.isExpression(node)) return;
    if (ts.isIdentifier(node) || node.kind === ts.SyntaxKind.ThisKeyword) {
      const parent = node.parent;
      const starts = ts.isExpression(parent) && parent.getStart(this.source) === node.getStart(this.source);
      return this.mention(node, starts ? "start" : "get", node.getText(this.source));
    }
    children();
  }

  lines(file: string): string[] {
    return this.mentions.map(({ position, kind, variable }) => {
      const { line, character } = this.source.getLineAndCharacterOfPosition(position);
      const fixed = variable.assigned ? "" : " const";
      return `${file}:${line + 1}:${character + 1} ${kind} ${variable.name} ${variable.function}${fixed}`;
    });
  }
}

/** The table of one source: what variables it means where, and the parameters of its functions. */
export function localsOf(text: string, file: string): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const reader = new SourceReader(source, file);
  return [...reader.parameters, ...reader.lines(file)];
}

export function localsTable(files: string[], root: string): string {
  const lines = files.flatMap((file) => localsOf(readFileSync(file, "utf8"), relative(root, file)));
  return `# What the sources call their variables, for wasm3-build --locals.\n${lines.join("\n")}\n`;
}
