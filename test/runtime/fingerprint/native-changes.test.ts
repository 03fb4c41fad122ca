import { describeChanges, results } from './resume-plan.js';

const NATIVE = {
  'package.json': '{ "type": "module" }',
  'lib/helper.js':
    "import { step } from './step.js'; const rate = Number('2'); export const f = (x) => step(x) * rate; export const g = () => 1; export let state = 1; export const unread = [1, 2].map(String);",
  'lib/step.js': 'export const step = (x) => x + 1;',
};

describeChanges('JavaScript that Node runs as it is', [
  {
    title: 'an ES module behind another',
    files: {
      'etl.config.js': results("import { f, g } from './lib/helper.js';", { a: 'f(1)', b: 'g()' }),
      ...NATIVE,
    },
    change: { 'x + 1': 'x + 2' },
    reruns: { a: 'lib/step.js changed' },
  },
  {
    title: 'a constant of an ES module that is not exported',
    files: {
      'etl.config.js': results("import { f, g } from './lib/helper.js';", { a: 'f(1)', b: 'g()' }),
      ...NATIVE,
    },
    change: { "Number('2')": "Number('3')" },
    reruns: { a: 'the constant "rate" in lib/helper.js changed' },
  },
  {
    title: 'a loop in an ES module with the Dag',
    files: {
      'package.json': '{ "type": "module" }',
      'etl.config.mjs': "import { one } from './one.js'; export default { dags: [one] };",
      'one.js':
        "import { dag } from '@oneshot/etl'; const list = [['a', 1], ['b', 2]]; export const one = dag('one', {}, (d) => { for (const [id, x] of list) d.session(id, {}, async () => x); });",
    },
    change: { "['b', 2]": "['b', 3]" },
    reruns: { b: 'the constant "x" in one.js changed' },
  },
  {
    title: 'CommonJS',
    files: {
      'etl.config.cjs':
        "const { dag } = require('@oneshot/etl'); const { f, g } = require('./h.cjs'); const all = require('./h.cjs'); module.exports = { dags: [dag('d', {}, (d) => { d.session('a', {}, async () => f()); d.session('b', {}, async () => g()); d.session('c', {}, async () => all.g()); d.session('e', {}, async () => all.f()); })] };",
      'h.cjs':
        "const { n } = require('./n.cjs'); function f() { return n; } module.exports = { f, g: () => 1 };",
      'n.cjs': 'exports.n = 1;',
    },
    change: { 'exports.n = 1': 'exports.n = 2' },
    reruns: { a: 'n.cjs changed', e: 'n.cjs changed' },
  },
  {
    title: 'CommonJS, a value that is not exported and a class',
    files: {
      'etl.config.cjs':
        "const { dag } = require('@oneshot/etl'); const H = require('./h.cjs'); module.exports = { dags: [dag('d', {}, (d) => { d.session('a', {}, async () => new H().m()); d.session('b', {}, async () => 1); })] };",
      'h.cjs': 'const state = { x: [1] }; module.exports = class H { m() { return state.x; } };',
    },
    change: { 'x: [1]': 'x: [2]' },
    reruns: { a: 'the constant "state.x" in h.cjs changed' },
  },
  {
    title: 'CommonJS that TypeScript made',
    files: {
      'etl.config.js': results("import { f, g } from './lib/index.cjs';", { a: 'f()', b: 'g()' }),
      'package.json': '{ "type": "module" }',
      'lib/index.cjs': `"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.g = void 0; exports.f = f;
const h_1 = require("./h.cjs");
const g = () => 1; exports.g = g;
function f() { return (0, h_1.h)(); }
__exportStar(require("./star.cjs"), exports); function __exportStar(m, e) { Object.assign(e, m); }`,
      'lib/h.cjs':
        '"use strict";\nObject.defineProperty(exports, "__esModule", { value: true });\nexports.h = h;\nfunction h() { return 1; }',
      'lib/star.cjs': 'exports.s = 1;',
    },
    change: { 'function h() { return 1': 'function h() { return 2' },
    reruns: { a: 'lib/h.cjs changed' },
  },
]);
