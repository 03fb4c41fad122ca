import { createTsconfig, TS, type ConfigProject } from './project.js';

/** Projects with the syntax of TypeScript. */
export const SYNTAX: readonly ConfigProject[] = [
  {
    title: 'enums, const enums and namespaces',
    files: TS(
      'enum E { A = 1, B = A << 2, C = "c" } const enum F { G = "g" } namespace N { export const h = 1; export namespace M { export const i = h + 1; } }',
      '[E.B, E[4], F.G, N.M.i]',
    ),
    second: 'tsx',
  },
  {
    title: 'properties that a constructor declares',
    files: TS(
      'class A { constructor(readonly a: number, private b = a + 1) {} sum() { return this.a + this.b; } }',
      'new A(1).sum()',
    ),
    second: 'tsx',
  },
  {
    title: 'using and await using',
    files: TS(
      `const log: string[] = [];
const open = (name: string) => ({ [Symbol.dispose]: () => log.push(name), [Symbol.asyncDispose]: async () => log.push(name) });
{ using a = open('a'); await using b = open('b'); log.push('body'); }`,
      'log',
    ),
    second: 'tsx',
  },
  {
    title: 'satisfies, const type parameters, overloads and assertions',
    files: TS(
      `function f(a: string): string; function f(a: number): number; function f<const T>(a: T): T { return a; }
const s = { a: 1 } satisfies Record<string, number>; const n = (<number>s.a)!;`,
      '[f("x"), n as unknown]',
    ),
    second: 'tsx',
  },
  {
    title: 'a top-level await, also in an imported file',
    files: TS("import { a } from './a.js'; const b = await Promise.resolve(a + 1);", '[a, b]', {
      'a.ts': 'export const a: number = await new Promise<number>((done) => setTimeout(done, 5, 1));',
    }),
    second: 'tsx',
  },
  {
    title: 'import.meta.dirname, filename, url and resolve',
    files: TS(
      "import { basename } from 'node:path';",
      "[basename(import.meta.filename), import.meta.dirname !== '', import.meta.url.startsWith('file:'), basename(import.meta.resolve('./a.js'))]",
      { 'a.js': '' },
    ),
    second: 'tsx',
  },
  {
    title: 'elided imports of types, and export type',
    files: TS(
      "import { A, a } from './a.js'; import type { B } from './none.js'; const x: A = a; type C = B;",
      'x',
      {
        'a.ts': 'export interface A { n: number } export const a: A = { n: 1 }; export type { A as D };',
      },
    ),
    second: 'tsx',
  },
  {
    title: 'imports for their side effects alone with verbatimModuleSyntax',
    files: TS("import { unused } from './side.js';", 'globalThis.side', {
      'side.ts': 'declare global { var side: number } globalThis.side = 1; export const unused = 1;',
      'tsconfig.json': createTsconfig({ verbatimModuleSyntax: true }),
    }),
    second: 'tsx',
  },
  {
    title: 'imports that are elided without verbatimModuleSyntax',
    files: TS("import { unused } from './side.js';", 'globalThis.side ?? null', {
      'side.ts': 'declare global { var side: number } globalThis.side = 1; export const unused = 1;',
    }),
    second: 'tsx',
  },
];

const DECORATOR = `const seen: unknown[] = [];
function mark(...args: any[]): any { seen.push(typeof args[1] === 'object' ? [args[1].kind, String(args[1].name)] : args.length + ' ' + String(args[1])); }
@mark class A { @mark field = 1; @mark method() {} @mark static s = 1; @mark get g() { return 1; } }
new A();`;
const METADATA = `const meta: string[] = [];
(Reflect as any).metadata = (key: string, value: any) => (target: any, name?: string) => {
  meta.push([key, name ?? 'class', Array.isArray(value) ? value.map((each: any) => each?.name).join('+') : String(value?.name)].join(' '));
};
const Injectable = (_target: any): void => {}; const Field = (_target: any, _name: string): void => {};
const Arg = (_target: any, _name: string | undefined, _index: number): void => {};
class Service {}
@Injectable class A {
  @Field id!: number; @Field name?: string; @Field at!: Date; @Field service!: Service; @Field list!: string[]; @Field any!: string | number; @Field maybe!: string | null;
  constructor(@Arg readonly service1: Service, @Arg readonly n: number) {}
  @Field run(_a: string, _b: Promise<void>): boolean { return true; }
}`;

/** Projects with decorators and fields, which options of a tsconfig.json change. */
export const CLASSES: readonly ConfigProject[] = [
  { title: 'standard decorators without a tsconfig.json', files: TS(DECORATOR, 'seen'), second: 'tsx' },
  {
    title: 'standard decorators with a tsconfig.json',
    files: TS(DECORATOR, 'seen', { 'tsconfig.json': createTsconfig({ target: 'ES2022' }) }),
    second: 'tsc',
  },
  {
    title: 'standard decorators that replace methods and classes, and addInitializer',
    files: TS(
      `function twice(method: any, context: any) { context.addInitializer(function (this: any) { this.ready = context.name; }); return function (this: any, n: number) { return 2 * method.call(this, n); }; }
function tag(value: any, { kind }: any) { return class extends value { tag = kind; }; }
const init = (_value: undefined, _context: any) => (first: number) => first + 10;
@tag class A { @init field = 1; @twice run(n: number) { return n + this.field; } }
const a: any = new A();`,
      '[a.run(1), a.ready, a.tag, a.field]',
    ),
    second: 'tsc',
  },
  {
    title: 'accessor fields, with and without a decorator',
    files: TS(
      `const log: unknown[] = [];
function watch({ get, set }: any, { name }: any) { return { get(this: any) { log.push('get ' + name); return get.call(this); }, set(this: any, v: any) { log.push('set ' + name); set.call(this, v); } }; }
class A { accessor a = 1; static accessor b = 2; @watch accessor c = 3; }
const a = new A(); a.a += 1; a.c += 1;`,
      '[a.a, A.b, a.c, log, Object.keys(a)]',
    ),
    second: 'tsc',
  },
  {
    title: 'legacy decorators by experimentalDecorators',
    files: TS(DECORATOR, 'seen', { 'tsconfig.json': createTsconfig({ experimentalDecorators: true }) }),
    second: 'tsx',
  },
  {
    title: 'legacy decorators with emitDecoratorMetadata, as of inversify and TypeORM',
    files: TS(METADATA, 'meta', {
      'tsconfig.json': createTsconfig({ experimentalDecorators: true, emitDecoratorMetadata: true }),
    }),
    second: 'tsc',
  },
  {
    title: 'legacy decorators with metadata of imported classes',
    files: TS("import { A } from './a.js'; import { log } from './meta.js'; new A(null!);", 'log', {
      'meta.ts': `export const log: string[] = [];
(Reflect as any).metadata = (key: string, value: any) => () => { log.push(key + ' ' + [value].flat().map((each: any) => each?.name).join('+')); };
export const Injectable = (_target: any): void => {};`,
      'b.ts': 'export class B {}\nexport interface C { n: number }\n',
      'a.ts':
        "import { B, type C } from './b.js'; import { Injectable } from './meta.js';\n@Injectable export class A { constructor(readonly b: B, readonly c?: C) {} }\n",
      'tsconfig.json': createTsconfig({ experimentalDecorators: true, emitDecoratorMetadata: true }),
    }),
    second: 'tsc',
  },
  {
    title: 'fields that are assigned, by useDefineForClassFields false',
    files: TS(
      'const set: string[] = []; class A { set a(v: number) { set.push("a " + v); } } class B extends A { /* @ts-ignore */\n a = 1; b?: number; declare c: number; }',
      '[set, Object.keys(new B()), set]',
      { 'tsconfig.json': createTsconfig({ useDefineForClassFields: false, target: 'ES2022' }) },
    ),
    second: 'tsx',
  },
  {
    title: 'fields that are assigned, by an old target',
    files: TS('class A { a?: number; b = 1; }', 'Object.keys(new A())', {
      'tsconfig.json': createTsconfig({ target: 'ES2021' }),
    }),
    second: 'tsx',
  },
  {
    title: 'fields that are defined, by a new target',
    files: TS('class A { a?: number; b = 1; }', 'Object.keys(new A())', {
      'tsconfig.json': createTsconfig({ target: 'ES2022' }),
    }),
    second: 'tsx',
  },
];

const JSX_FACTORY =
  'const h = (type: unknown, props: unknown, ...children: unknown[]) => [type, props, ...children]; const Frag = "frag";';
const JSX_RUNTIME = {
  'node_modules/tiny/package.json':
    '{ "name": "tiny", "type": "module", "exports": { "./jsx-runtime": "./jsx.js", "./jsx-dev-runtime": "./jsx.js" } }',
  'node_modules/tiny/jsx.js':
    'export const Fragment = "frag"; export const jsx = (type, { children, ...props }) => [type, props, children ?? null]; export const jsxs = jsx; export const jsxDEV = jsx;',
};
/** Projects with JSX. */
export const JSX: readonly ConfigProject[] = [
  {
    title: 'a .tsx file without JSX',
    files: TS(
      "import { a } from './a.js'; import { b } from './b.tsx'; import { c } from './c';",
      '[a, b, c]',
      {
        'a.tsx': 'export const a: number = 1;',
        'b.tsx': 'export const b: number = 2;',
        'c.tsx': 'export const c: number = 3;',
        'tsconfig.json': createTsconfig({ allowImportingTsExtensions: true, noEmit: true }),
      },
    ),
    second: 'tsx',
  },
  ...['react-jsx', 'react-jsxdev'].map((jsx): ConfigProject => ({
    title: `JSX with jsx ${jsx} and jsxImportSource`,
    files: TS("import { a } from './a.js';", 'a', {
      'a.tsx': 'export const a = <div id="1">text <b>{1 + 1}</b></div>;',
      ...JSX_RUNTIME,
      'tsconfig.json': createTsconfig({ jsx, jsxImportSource: 'tiny' }),
    }),
    second: 'tsx',
  })),
  {
    title: 'JSX with jsx react and factories of its own',
    files: TS("import { a } from './a.js';", 'a', {
      'a.tsx': `${JSX_FACTORY} export const a = <div id="1"><>{"x"}</></div>;`,
      'tsconfig.json': createTsconfig({ jsx: 'react', jsxFactory: 'h', jsxFragmentFactory: 'Frag' }),
    }),
    second: 'tsx',
  },
  {
    title: 'a .jsx file',
    files: TS("import { a } from './a.jsx';", 'a', {
      'a.jsx': `${JSX_FACTORY.replaceAll(/: unknown(\[\])?/g, '')} export const a = <div id="1">x</div>;`,
      'tsconfig.json': createTsconfig({ jsx: 'react', jsxFactory: 'h', allowJs: true }),
    }),
    second: 'tsx',
  },
];
