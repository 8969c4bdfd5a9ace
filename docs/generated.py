"""Pages generated from the code: command line, gallery, examples, kernels and their machine code.

`python docs/generated.py` writes the tables of topics into docs/course.md; a test fails if they are stale.
"""

import ast
import csv
import itertools
import os
import re
from pathlib import Path

import typer

from fastrec.cli import app
from fastrec.cli.help import help_text
from fastrec.cli.topics import COURSE

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "src/fastrec/kernels"
BACKENDS = {"reference": "NumPy", "cpu": "Numba", "gpu": "CUDA"}


def read(backend):
    """Return the kernels of a backend, each with the name of its file, without importing them."""
    found = {}
    for path in sorted((KERNELS / backend).glob("*.py")):
        homes = {}
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                homes |= {alias.name: node.module for alias in node.names}
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                names = ast.literal_eval(node.value) if isinstance(node.value, ast.List) else homes
                found |= {name: homes.get(name, path.stem) for name in names}
    return found


def kernel_table():
    """Return the table of kernels: a row for each file of backend "cpu", a column for each backend."""
    found = {backend: read(backend) for backend in BACKENDS}
    rows = {}
    for kernel, module in found["cpu"].items():
        rows.setdefault(module, []).append(kernel)
    lines = ["| | kernels |" + "".join(f" {b} ({by}) |" for b, by in BACKENDS.items()), "|---" * 5 + "|"]
    for module, names in sorted(rows.items()):
        shared = [sum(name in found[backend] for name in names) for backend in BACKENDS]
        marks = ["yes" if number == len(names) else f"{number} of {len(names)}" for number in shared]
        listed = ", ".join(f"`{name}`" for name in sorted(names))
        lines.append(f"| {module} | {listed} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


def course_tables():
    """Return a table of the topics of each part of the course."""
    sections = []
    for part, topics in COURSE.items():
        rows = ["| topic | run | read | picture |", "|---" * 4 + "|"]
        for topic in topics:
            read = ", ".join(f"[{title_of(target)}]({target})" for target in topic.read)
            pictures = ", ".join(f"[{name}](gallery/{picture(name).name})" for name in topic.scripts)
            rows.append(f"| {topic.title} | {f'`{topic.run}`' if topic.run else ''} | {read} | {pictures} |")
        sections.append(f"## {part}\n\n" + "\n".join(rows) + "\n")
    return "\n" + "\n".join(sections) + "\n"


def title_of(target):
    """Return the heading that a link leads to."""
    name, _, section = target.partition("#")
    headings = re.findall(r"^#+ (.*)", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.MULTILINE)
    return next(h for h in headings if not section or slug(h) == section)


def slug(heading):
    """Return the anchor of a heading, as MyST makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def picture(script):
    """Return the figure of a script."""
    (path,) = ROOT.glob(f"docs/gallery/{script}.[ps][nv]g")
    return path


TABLES = {"docs/course.md": ("topics", course_tables)}


def with_table(name):
    """Return a page with its table, between its marks."""
    mark, table = TABLES[name]
    page = (ROOT / name).read_text(encoding="utf-8")
    before, _, after = re.split(rf"(?<=<!-- {mark} -->\n)(.*)(?=<!-- end -->)", page, flags=re.DOTALL)
    return before + table() + after


def kernels_page():
    legend = ast.get_docstring(ast.parse((KERNELS / "__init__.py").read_text(encoding="utf-8")))
    return (
        "# Kernels\n\nEvery kernel has the same name, argument names and order on each backend; "
        "the NumPy one\nis the specification that the others are tested against. "
        "Kernels are not public:\nthey may change in any version.\n\n"
        f"{kernel_table()}\n## Names and numbers\n\n```{{eval-rst}}\n{legend}\n```\n"
    )


def command_line_page():
    """Return a section for each command, with its help."""
    page = ["# Command line\n"]
    command = typer.main.get_command(app)
    waiting = [(command, command.make_context("fastrec", [], resilient_parsing=True))]
    while waiting:
        command, context = waiting.pop(0)
        text = re.sub(r"\x1b\[\d*m", "", help_text(command, context, 100))
        page.append(f"## {context.command_path}\n\n```text\n{text}\n```\n")
        inner = getattr(command, "commands", {}).items()
        waiting[:0] = [
            (each, each.make_context(name, [], parent=context, resilient_parsing=True))
            for name, each in inner
        ]
    return "\n".join(page)


def gallery_page():
    head = "Figures of the tutorials, the glossary and the course. [Examples](examples.md) are programs.\n\n"
    return f"# Gallery\n\n{head}{sections_of_scripts('docs/gallery')}"


def examples_page():
    head = "Short programs to start from: each trains or measures something, and draws a figure of it.\n\n"
    return f"# Examples\n\n{head}{sections_of_scripts('examples')}"


def sections_of_scripts(folder):
    """Return small pictures of the scripts in a folder, which lead to a section for each: docstring, figure
    and command."""
    small, sections = [], []
    for script in sorted(ROOT.glob(f"{folder}/*.py"), key=lambda script: (script.stem != "overview", script)):
        title, _, rest = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))).partition("\n")
        title, source = title.rstrip("."), os.path.relpath(script, ROOT / "docs")
        figure = f"![{title}](gallery/{picture(script.stem).name})"
        small.append(f":::{{container}}\n[{figure}](#{slug(title)})\n\n[{title}](#{slug(title)})\n:::\n")
        sections.append(
            f"## {title}\n{rest}\n\n{figure}\n\n`./scripts/gallery {script.stem}`, in a clone, runs "
            f"{{download}}`{script.relative_to(ROOT)} <{source}>`.\n"
        )
    return "\n".join(["::::{container} pictures", *small, "::::\n", *sections])


COUNTS = """
- `registers` and `stack` (bytes) of a thread; `spilled`: bytes stored and loaded because there are not
  enough registers; `shared`: static shared memory of a block, in bytes.
- `instructions`: total number.
- `divisions`: integer divisions and remainders in steps, counted in PTX. The *steps* of a kernel are its
  outermost loops in which threads wait for others, at a barrier or sleeping between two reads of memory.
  For a recurrence this is the loop over time.
- `reciprocals`: computed for these divisions in steps, including calls for 64-bit divisions.
- `conversions`: of integers to floats, including those for divisions, in *polls*, the innermost loops that
  sleep between two reads of memory.
- `per_look`: instructions of a poll for each of its loads.
- `per_copy`: instructions of a loop, without inner loops, for each asynchronous copy to shared memory.
- `fences`: instructions that wait until other blocks see what was stored; `system_fences`: those that wait
  until the host and other devices see it; `per_barrier`: fences of a barrier of the grid or of a cluster;
  `step_fences`: fences in steps.
- `constant`: loads through the read-only path, which may miss values stored by the same launch. The source
  requests them by `__ldg`, but a compiler may also infer them.
"""


def read_counts(name):
    """Return the first line of a table of counts in docs/reference, its header and its rows."""
    with (ROOT / "docs/reference" / name).open(encoding="utf-8") as file:
        return next(file)[2:].strip(), *csv.reader(file)


def gpu_kernels_page():
    """Return the counts of docs/reference/gpu-kernels.csv, beside those of the first table, with a table for
    each source file."""
    made, header, *rows = read_counts("gpu-kernels.csv")
    arch, version = made.split(", ")
    _, _, *first = read_counts("gpu-kernels-first.csv")
    before = {(file, kernel): dict(zip(header[2:], counts, strict=True)) for file, kernel, *counts in first}

    def first_counts(file, kernel):
        """Of this kernel, or of the one that it was an instance of, by template arguments."""
        base = kernel.partition("<")[0]
        names = (
            kernel,
            f"{kernel.rpartition(',')[0]}>",
            *(name for _, name in before if name.startswith(f"{base}<")),
        )
        return next((before[file, name] for name in names if (file, name) in before), {})

    def counts(row):
        was = first_counts(row[0], row[1])
        for column, value in zip(header[2:], row[2:], strict=True):
            yield value if was.get(column, value) == value else f"{value} ({was[column]})"

    page = [
        "# Machine code of the GPU kernels\n\nThe machine code generated for each CUDA kernel by "
        f"{version} for compute capability {arch[3:-1]}.{arch[-1]}.\nThe kernels are experimental: "
        "they have [not run on a card yet](../install.md#what-has-been-run-where). A test\n"
        "fails if a kernel becomes worse; `python tests/kernel_table.py` writes the table, which is\n"
        "{download}`also a file <gpu-kernels.csv>`. Smaller numbers are better. In parentheses is the count\n"
        "of the {download}`first table <gpu-kernels-first.csv>`, before the kernels were revised by machine\n"
        f"code, where it was another.\n{COUNTS}"
    ]
    for name, group in itertools.groupby(rows, key=lambda row: row[0]):
        lines = [
            header[1:],
            ["---", *["--:"] * len(header[2:])],
            *([f"`{row[1]}`", *counts(row)] for row in group),
        ]
        page.append(f"## {name}.cu\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    return "\n".join(page)


PAGES = {
    "reference/kernels.md": kernels_page,
    "reference/gpu-kernels.md": gpu_kernels_page,
    "reference/command-line.md": command_line_page,
    "gallery.md": gallery_page,
    "examples.md": examples_page,
}

if __name__ == "__main__":
    for name in TABLES:
        (ROOT / name).write_text(with_table(name), encoding="utf-8")
