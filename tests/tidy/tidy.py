#!/usr/bin/env python3
"""Style as a test: what STYLE and the layers ask for and a program can see.

    python3 tests/tidy/tidy.py [ROOT]

Prints "file:line: what is wrong" for each fault and exits 1 on any. Every rule
is a function below that yields (path, line, message); test_tidy.py shows each
of them a tree that breaks it. Python's standard library only, plus
clang-format where it is installed.
"""
import collections
import os
import re
import shutil
import subprocess
import sys

# An include points down a floor or sideways inside one folder.
FLOORS = {
    'common/base': 0,
    'common/tensor': 1, 'common/crypto': 1,
    'common/model': 2, 'common/privacy': 2, 'common/wire': 2,
    'common/plan': 2, 'common/web': 2, 'common/strategy': 2,
    'common/task': 3, 'retrieval': 3,
    'client': 4, 'coordinator': 4,
    'sims': 5,
    'tests': 6,
}
# The coordinator cannot even name a document, so floor 3 is closed to it.
CLOSED = {('coordinator', 'retrieval')}

# Third-party headers and the files that may name them. Tests look behind any
# door; cmocka is theirs alone.
DOORS = [
    # base/buf wipes what held secrets; base/digest is BLAKE2b itself.
    (r'sodium(\.h|/.*)',
     r'common/(crypto/.*|base/(rng|digest|buf)\.c)'),
    (r'nng/.*', r'common/wire/transport_nng.*'),
    # base/db.h shows statements, so that callers read columns themselves.
    # crypto/sealed lies between SQLite and the disk.
    (r'sqlite3(ext)?\.h',
     r'common/base/db\.[ch]|common/crypto/sealed.*|retrieval/vecindex.*'),
    # common/tensor has kernels of its own, as fast; benchmarks compare.
    (r'(cblas|lapacke|openblas.*)\.h', r'(?!)'),
    (r'jansson\.h', r'common/base/json\.[ch]'),
    (r'cyaml/.*|yaml\.h', r'common/base/yaml(_strict|_edit)?\.[ch]'),
    (r'utf8proc\.h',
     r'common/(model/(tokenizer.*|vocab_wordpiece\.c)'
     r'|base/(nfkc|terminal)\.c)'),
    (r'pcre2\.h', r'common/model/vocab_bpe\.c'),
    (r'gumbo\.h|md4c.*\.h|zip\.h|expat\.h|iconv\.h',
     r'retrieval/document.*'),
    (r'libstemmer\.h', r'retrieval/stem\.c'),
    (r'microhttpd\.h', r'common/web/http.*'),
    (r'mpi\.h', r'sims/mpi_fleet\.c'),
    (r'cmocka\.h', r'(?!)'),
]

BANNED = {
    'strcpy': 'snprintf', 'strcat': 'snprintf', 'strncpy': 'snprintf',
    'strncat': 'snprintf', 'stpcpy': 'snprintf', 'sprintf': 'snprintf',
    'vsprintf': 'vsnprintf', 'gets': 'fgets', 'strtok': 'strcspn',
    'atoi': 'strtol', 'atol': 'strtol', 'atoll': 'strtoll', 'atof': 'strtod',
    'alloca': 'an arena', 'rand': 'rng_u64', 'srand': 'rng_init',
    'random': 'rng_u64', 'drand48': 'rng_f64', 'system': 'fork and exec',
    'popen': 'fork and exec', 'mktemp': 'mkstemp', 'tmpnam': 'mkstemp',
    'tempnam': 'mkstemp', 'gmtime': 'gmtime_r', 'localtime': 'localtime_r',
    'ctime': 'tick_iso8601', 'asctime': 'tick_iso8601',
    'lgamma': 'lgamma_r', 'longjmp': 'a return value',
    'vfork': 'fork', 'siglongjmp': 'a return',
}
# A test feeds these known strings, and runs under ASan besides.
TEST_OK = {'strcpy', 'strcat', 'strncpy', 'strncat', 'strtok', 'sprintf',
           'atoi', 'atof'}
# Calls that are right where they stand: (file, function) -> why.
BANNED_OK = {
    ('tests/check.c', 'system'): 'removes a folder of its own by rm -rf',
    ('tests/check.c', 'popen'): 'reads test data through gzip',
    ('retrieval/document_html.c', 'longjmp'):
        'gumbo cannot be told that memory or time is up',
}

LINE_MAX = 80
FUNCTION_MAX = 70
FILE_MAX = 1000
SHOWN_MAX = 5  # of one rule in one file
# Functions that tell one straight story: (file, function) -> the story.
LONG_OK = {
    ('tests/wire/test_messages.c', 'each_field_out_of_range_is_refused'):
        'a table of fields, then one loop over it',
}

# Each pattern is written so that it does not match itself.
WORDS = [
    (r'\b(TOD[O]|FIXM[E]|XX[X])\b', 'a note to self; finish it or drop it'),
    (r'/wor[k]/|/hom[e]/\w|/roo[t]/|/User[s]/\w', 'a path of one machine'),
    (r'\b[Ii]ssu[e]s? #?\d|\bpul[l] request\b', 'a ticket; say what and why'),
    (r'\b(for no[w]|temporar[y] hack|simplifie[d] version|placeholde[r] '
     r'(for|value|imp))\b', 'a promise; say what is there'),
]

CODE = ('.c', '.h')
# Not .csv: RFC 4180 ends its lines in CRLF.
TEXT = CODE + ('.py', '.sh', '.md', '.yaml', '.yml', '.json', '.txt', '.supp',
               '.sql', '.html', '.svg')
SCRIPT = ('.py', '.sh')
NAMES_SHARED = {'main.c', 'README.md', '__init__.py'}
# Samples keep the bytes they were made with.
SAMPLES = re.compile(r'tests/(golden|fuzz/corpus|fuzz/seeds)/')


def blank(text):
    """C text with comments, strings and characters replaced by spaces."""
    pattern = re.compile(
        r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
        re.S)

    def spaces(m):
        return re.sub(r'[^\n]', ' ', m.group())
    return pattern.sub(spaces, text)


def floor_of(path):
    """(folder, floor) of a file or include, or (None, None)."""
    parts = path.split('/')
    for n in (2, 1):
        folder = '/'.join(parts[:n])
        if len(parts) > n and folder in FLOORS:
            return folder, FLOORS[folder]
    return None, None


class Tree:
    """The text of every file that belongs to the project."""

    def __init__(self, root):
        self.root = root
        self.raw = {}
        for path in self.list():
            full = os.path.join(root, path)
            if os.path.isfile(full) and not os.path.islink(full):
                with open(full, 'rb') as f:
                    self.raw[path] = f.read()
        self.text = {}
        for path, data in self.raw.items():
            base = os.path.basename(path)
            if path.endswith(TEXT) or base in ('Makefile', 'run', 'LICENSE'):
                self.text[path] = data.decode('utf-8', 'replace')
        self.code = {p: t for p, t in self.text.items() if p.endswith(CODE)}
        self.blank = {p: blank(t) for p, t in self.code.items()}

    def list(self):
        if os.path.exists(os.path.join(self.root, '.git')):
            out = subprocess.run(
                ['git', 'ls-files', '-z', '-co', '--exclude-standard'],
                cwd=self.root, check=True, capture_output=True).stdout
            return sorted(set(filter(None, out.decode().split('\0'))))
        found = []
        for folder, _, names in os.walk(self.root):
            rel = os.path.relpath(folder, self.root)
            for name in names:
                found.append(os.path.normpath(os.path.join(rel, name)))
        return sorted(found)

    def exists(self, path):
        return path in self.raw

    def includes(self, path):
        """(line, '<' or '"', name) of each include in a C file."""
        for i, line in enumerate(self.code[path].split('\n'), 1):
            m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if m:
                yield i, m.group(1), m.group(2)


def line_at(text, offset):
    return text.count('\n', 0, offset) + 1


def functions(text):
    """(name, first line, lines) of each function, brace in column 0."""
    lines = text.split('\n')
    start = None
    for i, line in enumerate(lines):
        if line == '{':
            head = i
            while head > 0 and lines[head - 1][:1] not in ('', '#', '}', '/'):
                if lines[head - 1].rstrip().endswith((';', '\\')):
                    break
                head -= 1
            signature = ' '.join(lines[head:i])
            m = re.search(r'(\w+)\s*\(', signature)
            start = (m.group(1), i) if m else None
        elif line.startswith('}') and start:
            name, first = start
            yield name, first + 1, i - first
            start = None


# ---- includes -------------------------------------------------------------

def rule_floors(tree):
    for path in tree.code:
        folder, floor = floor_of(path)
        if folder is None:
            yield path, 1, 'stands in no folder of the floors'
            continue
        for line, kind, name in tree.includes(path):
            to, to_floor = floor_of(name)
            if kind != '"' or to is None or to == folder:
                continue
            if to_floor >= floor or (folder, to) in CLOSED:
                yield path, line, f'{folder} may not include {to}'


def rule_include_paths(tree):
    for path in tree.code:
        seen = set()
        for line, kind, name in tree.includes(path):
            if name in seen:
                yield path, line, f'{name} is included twice'
            seen.add(name)
            if name.endswith('.c'):
                yield path, line, f'{name}: a .c file is not included'
            elif kind == '"' and not tree.exists(name):
                yield path, line, f'"{name}" is not a path from the root'
            elif kind == '<' and tree.exists(name):
                yield path, line, f'<{name}> is ours: use quotes'


def rule_include_cycles(tree):
    graph = {p: [n for _, k, n in tree.includes(p)
                 if k == '"' and tree.exists(n) and n in tree.code]
             for p in tree.code}
    state = {}

    def visit(path, trail):
        state[path] = 1
        for to in graph[path]:
            if state.get(to) == 1:
                circle = trail[trail.index(to):] + [to]
                yield path, 1, 'circle of includes: ' + ' -> '.join(circle)
            elif to not in state:
                yield from visit(to, trail + [to])
        state[path] = 2

    for path in graph:
        if path not in state:
            yield from visit(path, [path])


def rule_doors(tree):
    for path in tree.code:
        for line, _, name in tree.includes(path):
            for header, door in DOORS:
                if not re.fullmatch(header, name):
                    continue
                if path.startswith('tests/') or re.fullmatch(door, path):
                    continue
                yield path, line, f'<{name}> enters through another door'


def rule_test_includes(tree):
    for path in tree.code:
        if not re.match(r'tests/\w+/test_\w+\.c$', path):
            continue
        # A header of the tests brings check.h itself.
        ours = [n for _, k, n in tree.includes(path) if k == '"']
        if not ours or not ours[0].startswith('tests/'):
            yield path, 1, '"tests/check.h" is the first include of a test'


# ---- files and names ------------------------------------------------------

def rule_unique_names(tree):
    seen = {}
    for path in tree.raw:
        name = os.path.basename(path)
        if name in NAMES_SHARED or not name.endswith(CODE + SCRIPT):
            continue
        if name == 'run.sh' and path.startswith('tests/'):
            continue  # one runner per kind of test
        if name in seen:
            yield path, 1, f'{name} is also the name of {seen[name]}'
        seen.setdefault(name, path)


def rule_readmes(tree):
    folders = {'README.md': '.'}
    for path in tree.code:
        folder = floor_of(path)[0]
        if folder:
            folders[folder + '/README.md'] = folder
    for readme, folder in sorted(folders.items()):
        if not tree.exists(readme):
            yield readme, 1, f'the folder {folder} has no README.md'


def rule_guards(tree):
    for path in tree.code:
        if not path.endswith('.h'):
            continue
        stem = re.sub(r'^common/', '', path)[:-2]
        want = 'TACIT_' + re.sub(r'\W', '_', stem).upper() + '_H'
        text = tree.blank[path]
        m = re.search(r'^\s*#\s*ifndef (\w+)\n#\s*define (\w+)\n', text, re.M)
        if not m or m.group(1) != want or m.group(2) != want:
            yield path, 1, f'the guard of this header is {want}'
        if not tree.code[path].rstrip().endswith('#endif'):
            yield path, 1, 'the guard ends the header'
        if not tree.code[path].startswith('/*'):
            yield path, 1, 'a header opens by saying what it is'


def rule_text(tree):
    for path, text in tree.text.items():
        if SAMPLES.match(path):
            continue
        if b'\r' in tree.raw[path]:
            yield path, 1, 'lines end in LF alone'
        if '\ufffd' in text and '\ufffd'.encode() not in tree.raw[path]:
            yield path, 1, 'text is UTF-8'
        if text and (not text.endswith('\n') or text.endswith('\n\n')):
            yield path, text.count('\n') + 1, 'a file ends in one newline'
        for i, line in enumerate(text.split('\n'), 1):
            if line != line.rstrip():
                yield path, i, 'blanks at the end of the line'
            if '\t' in line and path.endswith(CODE + ('.py',)):
                yield path, i, 'a tab'


def rule_lengths(tree):
    for path, text in tree.text.items():
        if not path.endswith(CODE + SCRIPT):
            continue
        lines = text.split('\n')
        for i, line in enumerate(lines, 1):
            if len(line) > LINE_MAX:
                yield path, i, f'{len(line)} columns, {LINE_MAX} at most'
        if path.endswith(CODE) and len(lines) - 1 > FILE_MAX:
            yield path, 1, f'{len(lines) - 1} lines, {FILE_MAX} at most'


def rule_words(tree):
    for path, text in tree.text.items():
        if SAMPLES.match(path):
            continue
        for pattern, why in WORDS:
            for m in re.finditer(pattern, text):
                yield path, line_at(text, m.start()), f'"{m.group()}": {why}'


# ---- code -----------------------------------------------------------------

def rule_functions(tree):
    found = set()
    for path, text in tree.blank.items():
        for name, first, n in functions(text):
            if n <= FUNCTION_MAX + 1:
                continue
            found.add((path, name))
            if (path, name) not in LONG_OK:
                yield (path, first, f'{name} has {n - 1} lines, '
                       f'{FUNCTION_MAX} at most')
    for path, name in LONG_OK:
        if tree.exists(path) and (path, name) not in found:
            yield path, 1, f'{name} is no longer long: drop it from LONG_OK'


def rule_banned(tree):
    names = '|'.join(BANNED)
    for path, text in tree.blank.items():
        for m in re.finditer(rf'(?<![\w.>])({names})\s*\(', text):
            if (path, m.group(1)) in BANNED_OK:
                continue
            if path.startswith('tests/') and m.group(1) in TEST_OK:
                continue
            yield (path, line_at(text, m.start()),
                   f'{m.group(1)}() is not used here: '
                   f'{BANNED[m.group(1)]} instead')


def rule_types(tree):
    own = re.compile(r'\b(?:struct|enum|union)\s+(\w+_t)\b|'
                     r'\btypedef\b[^;{}]*?\b(\w+_t)\s*;|^}\s*(\w+_t)\s*;',
                     re.M)
    for path, text in tree.blank.items():
        for m in own.finditer(text):
            name = m.group(1) or m.group(2) or m.group(3)
            yield (path, line_at(text, m.start()),
                   f'{name}: names in _t belong to POSIX')
        for m in re.finditer(r'[(,]\s*(?:const\s+)?bool\s+\w+\s*[,)]', text):
            yield (path, line_at(text, m.end()),
                   'a boolean parameter: an enum says what it means')


def rule_comments(tree):
    for path, text in tree.code.items():
        bare = re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                      lambda m: re.sub(r'[^\n]', ' ', m.group()), text,
                      flags=re.S)
        for m in re.finditer(r'//', bare):
            yield path, line_at(bare, m.start()), 'comments are /* */'
        for m in re.finditer(r'^\s*#\s*if 0\b', bare, re.M):
            yield path, line_at(bare, m.end()), 'code that is switched off'


def rule_codes(tree):
    path = 'common/base/codes.h'
    if path not in tree.code:
        return
    rows = [(line_at(tree.code[path], m.start()), m.group(1), int(m.group(2)))
            for m in re.finditer(r'^ X\((\w+), (\d+),', tree.code[path], re.M)]
    used = collections.Counter()
    for p, text in tree.blank.items():
        if p != path and not p.startswith('tests/'):
            used.update(re.findall(r'\bE_(\w+)', text))
    names = set()
    for i, (line, name, number) in enumerate(rows):
        if i and number <= rows[i - 1][2]:
            yield path, line, f'{name} = {number} is out of order or repeated'
        if name in names:
            yield path, line, f'{name} stands here twice'
        names.add(name)
        if not name.startswith('DEFAULT_') and not used[name]:
            yield path, line, f'nothing fails as E_{name}'


def rule_tests_registered(tree):
    for path, text in tree.blank.items():
        if not re.match(r'tests/\w+/test_\w+\.c$', path):
            continue
        listed = set(re.findall(r'\bcmocka_unit_test\w*\(\s*(\w+)', text))
        listed |= set(re.findall(r'#\s*define[^\n]*\bcmocka_unit_test', text))
        for m in re.finditer(r'^static void (\w+)\(void \*\*\w+\)', text,
                             re.M):
            if m.group(1) in listed:
                continue
            # Named in a macro or table that registers it.
            if len(re.findall(rf'\b{m.group(1)}\b', text)) > 1:
                continue
            yield (path, line_at(text, m.start()),
                   f'{m.group(1)} is never registered')


def rule_arm(tree):
    """tests/arm/run.sh builds without cmocka: what its tests say of it stands
    in tests/arm/cmocka.h."""
    ours = tree.blank.get('tests/arm/cmocka.h', '')
    script = tree.text.get('tests/arm/run.sh', '')
    known = set(re.findall(r'#\s*define (\w+)', ours))
    for name in re.findall(r'\b\w+/test_\w+', script) + ['check']:
        path = f'tests/{name}.c'
        for m in re.finditer(r'\b(assert_\w+|expect_\w+|will_return\w*|'
                             r'cmocka_\w+|fail_msg|skip)\s*\(',
                             tree.blank.get(path, '')):
            if m.group(1) not in known and ours:
                yield (path, line_at(tree.blank[path], m.start()),
                       f'{m.group(1)} is not in tests/arm/cmocka.h')


def rule_listed_tests(tree):
    """A script that lists tests fails by one that is gone."""
    for path in ('tests/arm/run.sh', 'tests/valgrind.sh'):
        text = tree.text.get(path, '')
        for m in re.finditer(r'\b\w+/test_\w+', text):
            if f'tests/{m.group()}.c' not in tree.raw:
                yield (path, line_at(text, m.start()),
                       f'tests/{m.group()}.c is not there')


def rule_guarantees(tree):
    """Every promise has a number of its own and tests that are there: a file
    of tests/e2e, a name as `secagg: the_sum_is_exact`, or one alone."""
    path, seen = 'tests/GUARANTEES.md', set()
    bodies = {p: t for p, t in tree.text.items() if p.startswith('tests/')}
    names = {os.path.basename(p).rsplit('.', 1)[0] for p in bodies}
    defined = set()
    for text in bodies.values():
        defined |= set(re.findall(r'^(?:static void |def (?:case_)?)(\w+)\(',
                                  text, re.M))
    for i, row in enumerate(tree.text.get(path, '').split('\n'), 1):
        m = re.match(r'\| (\d+) \|', row)
        if not m:
            continue
        if m.group(1) in seen:
            yield path, i, f'number {m.group(1)} stands here twice'
        seen.add(m.group(1))
        for name in re.findall(r'`([^`]+)`', row.split('|')[-2]):
            file = re.match(r'(e2e/\w+\.py)', name)
            test = re.match(r'(\w+): (\w+)$', name)
            alone = re.match(r'[a-z]\w*$', name)
            if file and 'tests/' + file.group(1) not in tree.raw:
                yield path, i, f'{file.group(1)} is not there'
            if test and 'test_' + test.group(1) not in names:
                yield path, i, f'test_{test.group(1)} is not there'
            word = (test.group(2) if test else
                    (re.findall(r': (\w+)', name) or [''])[0] if file else
                    name if alone else '')
            if (word and word not in defined and word not in names and
                    'test_' + word not in names and word != 'tidy'):
                yield path, i, f'no test is named {word}'


def rule_clang_format(tree):
    tool = shutil.which('clang-format')
    style = os.path.join(tree.root, '.clang-format')
    if not tool or not os.path.exists(style) or not tree.code:
        return
    out = subprocess.run([tool, '--dry-run', *sorted(tree.code)],
                         cwd=tree.root, capture_output=True, text=True)
    seen = set()
    for m in re.finditer(r'^(.+?):(\d+):\d+: (?:warning|error):', out.stderr,
                         re.M):
        if m.group(1) not in seen:
            seen.add(m.group(1))
            yield (m.group(1), int(m.group(2)),
                   'not as clang-format has it: make format')


RULES = [f for name, f in sorted(globals().items())
         if name.startswith('rule_')]


def check(root):
    """Every fault below root as sorted (path, line, message, rule)."""
    tree = Tree(root)
    faults = []
    for rule in RULES:
        for path, line, message in rule(tree):
            faults.append((path, line, message, rule.__name__))
    return sorted(faults)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, '../..')
    faults = check(os.path.normpath(root))
    shown = collections.Counter()
    for path, line, message, rule in faults:
        shown[path, rule] += 1
        if shown[path, rule] <= SHOWN_MAX:
            print(f'{path}:{line}: {message}')
        elif shown[path, rule] == SHOWN_MAX + 1:
            print(f'{path}:{line}: and more of the same')
    print(f'tidy: {len(faults)} faults' if faults else 'tidy: ok',
          file=sys.stderr)
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
