#!/usr/bin/env python3
"""Each rule of tidy.py fires on a tree that breaks it, and only then.

    python3 tests/tidy/test_tidy.py
"""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tidy  # noqa: E402

CODES = '''/* codes: a sample. */
#ifndef TACIT_BASE_CODES_H
#define TACIT_BASE_CODES_H

#define TACIT_CODE_MAP(X) \\
 X(FIRST, 101, IO, FAILED, "first", "help") \\
 X(SECOND, %d, IO, FAILED, "second", "help")

#endif
'''
HEADER = '''/* sample: a header. */
#ifndef TACIT_%s_H
#define TACIT_%s_H
%s
#endif
'''
CLEAN = {
    'README.md': 'Sample.\n',
    'common/base/README.md': 'Base.\n',
    'common/base/codes.h': CODES % 102,
    'common/base/thing.h': HEADER % ('BASE_THING', 'BASE_THING',
                                     '\nint thing_size(int n);\n'),
    'common/base/thing.c': '#include "common/base/thing.h"\n\n'
                           '#include "common/base/codes.h"\n\n'
                           'int thing_size(int n)\n{\n'
                           '    return n ? E_FIRST : E_SECOND;\n}\n',
    'tests/README.md': 'Tests.\n',
    'tests/check.h': HEADER % ('TESTS_CHECK', 'TESTS_CHECK', ''),
    'tests/base/test_thing.c':
        '#include "tests/check.h"\n\n'
        'static void a_thing_has_a_size(void **state)\n{\n'
        '    (void)state;\n}\n\n'
        'int main(void)\n{\n    const struct CMUnitTest tests[] = {\n'
        '        cmocka_unit_test(a_thing_has_a_size)};\n'
        '    return cmocka_run_group_tests(tests, NULL, NULL);\n}\n',
}


def faults(changes):
    """(rule, path, line, message) of the clean tree with changes."""
    tree = dict(CLEAN)
    tree.update(changes)
    with tempfile.TemporaryDirectory() as root:
        for path, text in tree.items():
            if text is None:
                continue
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            data = text if isinstance(text, bytes) else text.encode()
            with open(full, 'wb') as f:
                f.write(data)
        return [(r, p, n, m) for p, n, m, r in tidy.check(root)]


def c(body):
    return '#include "common/base/thing.h"\n\n' + body


class Rules(unittest.TestCase):
    def fires(self, rule, changes, path, line=None, says=''):
        got = faults(changes)
        hits = [f for f in got if f[0] == 'rule_' + rule and f[1] == path]
        self.assertTrue(hits, f'{rule} does not fire: {got}')
        if line:
            self.assertIn(line, [f[2] for f in hits], hits)
        self.assertTrue(any(says in f[3] for f in hits), hits)

    def quiet(self, changes):
        self.assertEqual(faults(changes), [])

    def test_a_clean_tree_has_no_faults(self):
        self.quiet({})

    def test_floors(self):
        self.fires('floors', {
            'common/base/up.c': '#include "common/wire/frame.h"\n',
            'common/wire/README.md': 'Wire.\n',
            'common/wire/frame.h': HEADER % ('WIRE_FRAME', 'WIRE_FRAME', '')},
            'common/base/up.c', 1, 'common/base may not include common/wire')
        self.fires('floors', {
            'client/side.c': '#include "coordinator/round.h"\n'},
            'client/side.c', 1)
        self.fires('floors', {
            'coordinator/x.c': '#include "retrieval/corpus.h"\n'},
            'coordinator/x.c', 1)
        self.fires('floors', {'else/x.c': 'int x;\n'}, 'else/x.c', 1)

    def test_include_paths(self):
        bad = 'common/base/bad.c'
        for text in ('#include "thing.h"\n', '#include "common/base/no.h"\n',
                     '#include "common/base/thing.c"\n',
                     '#include <common/base/thing.h>\n',
                     '#include <a.h>\n#include <a.h>\n'):
            self.fires('include_paths', {bad: text}, bad)

    def test_include_cycles(self):
        one = HEADER % ('BASE_ONE', 'BASE_ONE', '#include "common/base/two.h"')
        two = HEADER % ('BASE_TWO', 'BASE_TWO', '#include "common/base/one.h"')
        self.fires('include_cycles', {
            'common/base/one.h': one, 'common/base/two.h': two},
            'common/base/two.h', 1, 'one.h -> common/base/two.h')

    def test_doors(self):
        for header in ('sodium.h', 'nng/nng.h', 'sqlite3.h', 'cblas.h',
                       'jansson.h', 'cyaml/cyaml.h', 'utf8proc.h',
                       'gumbo.h', 'md4c-html.h', 'cmocka.h'):
            self.fires('doors', {
                'common/base/thing.c': c(f'#include <{header}>\n')},
                'common/base/thing.c', 3, header)

    def test_test_includes(self):
        self.fires('test_includes', {
            'tests/base/test_more.c': c('int more;\n')},
            'tests/base/test_more.c', 1)

    def test_unique_names(self):
        self.fires('unique_names', {'tests/base/thing.c': 'int x;\n'},
                   'tests/base/thing.c', 1, 'common/base/thing.c')

    def test_readmes(self):
        self.fires('readmes', {'common/base/README.md': None},
                   'common/base/README.md')
        self.fires('readmes', {'README.md': None}, 'README.md')

    def test_guards(self):
        path = 'common/base/more.h'
        self.fires('guards', {path: HEADER % ('MORE', 'MORE', '')}, path, 1,
                   'TACIT_BASE_MORE_H')
        good = HEADER % ('BASE_MORE', 'BASE_MORE', '')
        self.quiet({path: good})
        self.fires('guards', {path: good.split('\n', 1)[1]}, path, 1, 'opens')
        self.fires('guards', {path: good + 'int x;\n'}, path, 1, 'ends')

    def test_text(self):
        for text in ('int x; \n', 'int x;', 'int x;\n\n', '\tint x;\n',
                     'int x;\r\n', b'/* \xff */\n'):
            self.fires('text', {'common/base/bad.c': text},
                       'common/base/bad.c')

    def test_lengths(self):
        path = 'common/base/bad.c'
        self.fires('lengths', {path: f'/* {"x" * 75} */\n'}, path, 1)
        self.quiet({path: f'/* {"x" * 74} */\n'})
        self.quiet({path: '/* ' + '\u2588' * 74 + ' */\n'})
        self.fires('lengths', {path: '/* */\n' * 1001}, path, 1)

    def test_words(self):
        path = 'common/base/bad.c'
        for word in ('TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'is' + 'sue #7',
                     '/ho' + 'me/me', '/wo' + 'rk/x', 'for n' + 'ow'):
            self.fires('words', {path: f'/* a\n * {word} b. */\n'}, path, 2)

    def test_functions(self):
        path = 'common/base/bad.c'

        def body(n):
            return ('static int f(int a,\n             int b)\n{\n' +
                    '    a++;\n' * n + '}\n')
        self.quiet({path: body(70)})
        self.fires('functions', {path: body(71)}, path, 3, 'f has 71')

    def test_banned(self):
        path = 'common/base/bad.c'
        for name in tidy.BANNED:
            self.fires('banned', {path: f'int x = {name}(1);\n'}, path, 1,
                       name)
        self.quiet({path: '/* strcpy(a, b) */\nchar *s = "system(1)";\n'
                          'int n = my_rand(1) + o->random(2);\n'})
        self.quiet({'tests/base/more.c': 'int x = atoi("1");\n'})

    def test_types(self):
        path = 'common/base/bad.c'
        for text in ('typedef int thing_t;\n', 'struct thing_t;\n',
                     'typedef struct {\n    int x;\n} thing_t;\n',
                     'void f(int a, bool b);\n'):
            self.fires('types', {path: text}, path)
        self.quiet({path: 'uint32_t f(size_t n);\n'})

    def test_comments(self):
        path = 'common/base/bad.c'
        self.fires('comments', {path: 'int x; // no\n'}, path, 1)
        self.fires('comments', {path: '#if 0\nint x;\n#endif\n'}, path, 1)
        self.quiet({path: 'char *u = "tcp://x"; /* a // b */\n'})

    def test_codes(self):
        path = 'common/base/codes.h'
        self.fires('codes', {path: CODES % 101}, path, 7, 'out of order')
        self.fires('codes', {path: CODES % 99}, path, 7)
        self.fires('codes', {path: (CODES % 102).replace('SECOND', 'THIRD')},
                   path, 7, 'nothing fails as E_THIRD')

    def test_tests_registered(self):
        path = 'tests/base/test_thing.c'
        text = CLEAN[path].replace('cmocka_unit_test(a_thing_has_a_size)', '')
        self.fires('tests_registered', {path: text}, path, 3,
                   'a_thing_has_a_size')

    def test_arm(self):
        path = 'tests/base/test_thing.c'
        stand_in = HEADER % ('TESTS_ARM_CMOCKA', 'TESTS_ARM_CMOCKA', (
            '#define cmocka_unit_test(f) {#f, f}\n'
            '#define cmocka_run_group_tests(t, up, down) run_all(t)\n'))
        tree = {'tests/arm/cmocka.h': stand_in,
                'tests/arm/run.sh': 'for t in base/test_thing; do\n'}
        self.quiet(tree)
        text = CLEAN[path].replace('(void)state;',
                                   '(void)state;\n    assert_int_equal(1, 1);')
        self.fires('arm', {**tree, path: text}, path, 6, 'assert_int_equal')

    def test_listed_tests(self):
        for path in ('tests/arm/run.sh', 'tests/valgrind.sh'):
            self.quiet({path: 'tests=(base/test_thing)\n'})
            self.fires('listed_tests', {
                path: 'tests=(base/test_thing\n    base/test_gone)\n'},
                path, 2, 'tests/base/test_gone.c')

    def test_guarantees(self):
        path = 'tests/GUARANTEES.md'
        good = ('| 1 | Sizes. | guesses | `thing: a_thing_has_a_size`, '
                '`a_thing_has_a_size`, `thing` tests, `make fuzz` |\n')
        self.quiet({path: good})
        self.fires('guarantees', {path: good + good}, path, 2, 'twice')
        for name, says in (('thing: it_floats', 'it_floats'),
                           ('it_floats', 'it_floats'),
                           ('other: a_thing_has_a_size', 'test_other'),
                           ('e2e/test_x.py: a', 'e2e/test_x.py')):
            self.fires('guarantees', {
                path: f'| 2 | Other. | - | `{name}` |\n'}, path, 1, says)

    @unittest.skipUnless(tidy.shutil.which('clang-format'), 'not here')
    def test_clang_format(self):
        with open(os.path.join(os.path.dirname(__file__),
                               '../../.clang-format')) as f:
            style = f.read()
        bad = {f[1] for f in faults({'.clang-format': style})}
        self.assertNotIn('common/base/thing.c', bad)
        self.fires('clang_format', {
            '.clang-format': style,
            'common/base/bad.c': 'int f( int x ) ;\n'}, 'common/base/bad.c', 1)

    def test_every_rule_has_a_test(self):
        mine = {n[5:] for n in dir(self) if n.startswith('test_')}
        rules = {r.__name__[5:] for r in tidy.RULES}
        self.assertEqual(rules - mine, set())


if __name__ == '__main__':
    unittest.main()
