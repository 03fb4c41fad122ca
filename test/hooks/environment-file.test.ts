import { expect } from 'chai';
import dotenv from 'dotenv';
import fc from 'fast-check';
import { parseEnvironment } from '../../src/hooks/environment-file.js';

/** Parses a text, and returns the variables, or the line and the reason of the fault. */
function parse(text: string): Readonly<Record<string, string>> | string {
  const parsed = parseEnvironment(text);
  return 'line' in parsed ? `line ${parsed.line}: ${parsed.why}` : Object.fromEntries(parsed);
}

describe('the text of a .env file', () => {
  /** The examples of dotenv's README and the rules that it names, each with the result of dotenv. */
  const RULES: readonly [title: string, text: string][] = [
    ['a name and a value', 'BASIC=basic'],
    ['empty lines', '\n\nA=1\n\n\nB=2\n'],
    ['lines with a comment', '# SECRET_KEY=no\nA=1 # comment\nB="a # b" # comment'],
    ['empty values', 'EMPTY=\nA=""\nB=\'\'\nC=1'],
    ['inner quotes', 'JSON={"foo": "bar"}\nA=it\'s\nB=\'say "a"\'\nC="it\'s `so`"\nD=`say "a" and \'b\'`'],
    ['blanks around a value', 'FOO=  some value  \nBAR = b\n\tBAZ\t=\tc\t'],
    ['blanks in quotes', 'FOO=\' some value \'\nA=" b "'],
    ['line breaks in double quotes', 'MULTILINE="new\\nline\\r\\nx"\nA=\'a\\nb\'\nB=a\\nb'],
    ['values over several lines', 'KEY="-----BEGIN\nabc\n-----END"\nA=\'x\n\ny\'\nB=`m\nn`\nC=1'],
    ['the word export', 'export A=1\nexport   B=2\n  export\tC=3'],
    ['line ends of Windows', 'A=1\r\nB="x\r\ny"\r\nC=3\r\n'],
    ['line ends of old Macs', 'A=1\rB=2\r# x\rC=3'],
    ['the last value of a name', 'A=1\nA=2'],
    ['names with dots, hyphens and digits', 'a.b-c_1=x\n1A=y'],
    ['an equals sign in a value', 'URL=postgres://a:b@h/d?x=1&y=2\nA=="'.replace('"', '')],
    ['a value that looks like code', 'A=$HOME\nB="$(id)"\nC=`id`\nD=${X:-1}'],
    ['backslashes', 'A=C:\\new\nB=\'C:\\new\'\nC="C:\\dir\\\\x"\nD=\\'],
    ['no line break at the end', 'A="1"'],
  ];
  for (const [title, text] of RULES) {
    it(`is read as dotenv reads it: ${title}`, () => {
      expect(parse(text)).to.deep.equal(dotenv.parse(text));
    });
  }

  it('may have an escaped quotation mark in double quotes, which dotenv leaves escaped', () => {
    expect(parse('A="a\\"b"\nB="{\\"x\\":\\"y\\"}"\nC=1')).to.deep.equal({
      A: 'a"b',
      B: '{"x":"y"}',
      C: '1',
    });
  });

  /** Texts of which Node's parser, dotenv and a shell read some in different ways, and none reads all well. */
  const FAULTS: readonly [text: string, fault: string][] = [
    ['A=1\nB: 2', 'line 2: the line has a colon in place of ='],
    ['A="abc\nB=2', 'line 1: the value of A begins with ", and no " ends it'],
    ["# x\nA='abc", "line 2: the value of A begins with ', and no ' ends it"],
    ['A="x\\"', 'line 1: the value of A begins with ", and no " ends it'],
    ['A="a"b', 'line 1: the value of A has more text after the closing "'],
    ["A='it's'", "line 1: the value of A has more text after the closing '"],
    ["A='a\\'b'", "line 1: the value of A has more text after the closing '"],
    ['A="a" B="b"', 'line 1: the value of A has more text after the closing "'],
    [
      'A=pass#word',
      'line 1: the value of A has a # without a blank before it, which tools read in different ways',
    ],
    [
      'A=#word',
      'line 1: the value of A has a # without a blank before it, which tools read in different ways',
    ],
    [
      'A="a\\\\nb"',
      'line 1: the value of A has two backslashes before n or r in double quotes, which tools read in different ways',
    ],
    ['\n\nA', 'line 3: the line has no ='],
    ['export A', 'line 1: the line has no ='],
    ['source other.sh', 'line 1: the line has no ='],
    ['if [ "$X" = 1 ]; then', 'line 1: the text before the = is not a name'],
    ['set A=1', 'line 1: the text before the = is not a name'],
    ['A B=1', 'line 1: the text before the = is not a name'],
    ['=1', 'line 1: the text before the = is not a name'],
    ['A[0]=1', 'line 1: the text before the = is not a name'],
    ['A="x\ny\nz"\nB', 'line 4: the line has no ='],
    ['A=x\0y', 'line 1: the value of A has a NUL character'],
    ['{"A": 1}', 'line 1: the line has no ='],
  ];
  for (const [text, fault] of FAULTS) {
    it(`is refused with the number of the line: ${JSON.stringify(text)}`, () => {
      expect(parse(text)).to.equal(fault);
    });
  }

  it('is read as dotenv reads it, or refused', () => {
    const word = fc.oneof(
      fc.constantFrom(
        'A',
        'B=',
        'C = ',
        '=',
        '"',
        "'",
        '`',
        '\\',
        '\\n',
        '#',
        ' #',
        '\n',
        '\r\n',
        '\r',
        ' ',
        '\t',
      ),
      fc.constantFrom('export ', 'A=1', 'B="x"', "C='y'", ': ', 'é', '$', 'x y'),
    );
    const text = fc.array(word, { maxLength: 14 }).map((words) => words.join(''));
    let read = 0;
    fc.assert(
      fc.property(text, (source) => {
        const parsed = parse(source);
        if (typeof parsed === 'string' || source.includes('\\"')) return;
        read += 1;
        expect(parsed).to.deep.equal(dotenv.parse(source));
      }),
      { numRuns: 20_000 },
    );
    expect(read).to.be.above(2000);
  });

  it('never quotes a value in a fault', () => {
    for (const line of [
      'hunter22',
      'A="hunter22',
      'A=hunter22#x',
      'A: hunter22',
      'hunter 22=1',
      'A="x"hunter22',
    ])
      expect(JSON.stringify(parseEnvironment(line)))
        .to.match(/"why"/)
        .and.not.include('hunter');
  });
});
