"""Pages that follow from the code: the command line, the gallery, which kernel there is on which backend,
the machine code of GPU kernels.

`python docs/generated.py` writes the table of kernels into README.md; a test tells when it is stale.
"""

import ast
import csv
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "src/fastrec/kernels"
BACKENDS = {"reference": "NumPy", "cpu": "Numba", "gpu": "CUDA"}
DOMAINS = ("hopfield", "capacity", "rnn", "generation")


def read(backend, domain):
    """Kernels of a domain on a backend, each with the name of the file that it is in; nothing is imported."""
    tree = ast.parse((KERNELS / backend / f"{domain}.py").read_text(encoding="utf-8"))
    names, homes = [], {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            homes |= {alias.name: node.module for alias in node.names}
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names = ast.literal_eval(node.value)
    return {name: homes.get(name, domain) for name in names}


def kernel_table():
    """Rows of kernels by the file that holds them on the cpu, a column for each backend."""
    found = {backend: {k: v for d in DOMAINS for k, v in read(backend, d).items()} for backend in BACKENDS}
    rows = {}
    for kernel, module in found["cpu"].items():
        rows.setdefault(module, []).append(kernel)
    lines = ["| | kernels |" + "".join(f" {b} ({by}) |" for b, by in BACKENDS.items()), "|---" * 5 + "|"]
    for module, names in rows.items():
        shared = [sum(name in found[backend] for name in names) for backend in BACKENDS]
        marks = ["yes" if number == len(names) else f"{number} of {len(names)}" for number in shared]
        listed = ", ".join(f"`{name}`" for name in sorted(names))
        lines.append(f"| {module} | {listed} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


def with_table(page):
    """A page with the table between its marks."""
    before, _, after = re.split(r"(?<=<!-- kernels -->\n)(.*)(?=<!-- end -->)", page, flags=re.DOTALL)
    return before + kernel_table() + after


def kernels_page():
    legend = ast.get_docstring(ast.parse((KERNELS / "__init__.py").read_text(encoding="utf-8")))
    return (
        "# Kernels\n\nEvery kernel has the same name, argument names and order on each backend; "
        "the NumPy one\nis the specification that the others are tested against. "
        "Kernels are not public:\nthey may change in any version.\n\n"
        f"{kernel_table()}\n## Names and numbers\n\n```{{eval-rst}}\n{legend}\n```\n"
    )


def command_line_page():
    command = [sys.executable, "-m", "typer", "fastrec.cli", "utils", "docs", "--name", "fastrec"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return page.replace("# `fastrec`", "# Command line", 1).replace("```console\n$ ", "```\n")


def gallery_page():
    """A section for each script of docs/gallery and examples: its docstring, its picture, how it is made."""
    page = [
        "# Gallery\n\nEach picture is made by one command in a clean checkout, `./scripts/gallery NAME`.\n"
    ]
    scripts = [*sorted(ROOT.glob("docs/gallery/*.py")), *sorted(ROOT.glob("examples/*.py"))]
    for script in sorted(scripts, key=lambda script: script.stem != "overview"):
        title, _, rest = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))).partition("\n")
        (picture,) = ROOT.glob(f"docs/gallery/{script.stem}.[ps][nv]g")
        source = os.path.relpath(script, ROOT / "docs")
        page.append(
            f"## {title.rstrip('.')}\n{rest}\n\n![{title}](gallery/{picture.name})\n\n"
            f"`./scripts/gallery {script.stem}` runs "
            f"{{download}}`{script.relative_to(ROOT)} <{source}>`.\n"
        )
    return "\n".join(page)


COUNTS = """
- `registers` and `stack`, bytes, of a thread; `spilled`: bytes stored and loaded because registers do not
  suffice; `shared`: static bytes of a block.
- `instructions` in all.
- `divisions` of integers, and remainders, in steps, counted in PTX. The *steps* of a kernel are its outermost
  loops in which threads wait for others, at a barrier or asleep between two looks at memory. For a recurrence
  that is the loop over time.
- `reciprocals` that are computed for these divisions in steps, and calls for those of 64 bits.
- `conversions` of integers to floats, also for divisions, in *polls*: the innermost loops that sleep between
  two looks at memory.
- `per_look`: instructions of a poll for each of its loads.
- `per_copy`: instructions of a loop, without the loops within, for each asynchronous copy to shared memory.
- `fences`: instructions that wait until other blocks see what was stored; `system_fences`: those that wait
  for the host and other devices to see it; `per_barrier`: fences of a barrier of the grid or of a cluster;
  `step_fences`: those in steps.
- `constant`: loads through the read-only path, which may miss what the same launch stores. The source asks
  for them by `__ldg`, but a compiler may also infer them.
"""


def gpu_kernels_page():
    """The counts of docs/reference/gpu-kernels.csv, a table for each source file."""
    with (ROOT / "docs/reference/gpu-kernels.csv").open(encoding="utf-8") as file:
        arch, version = next(file)[2:].strip().split(", ")
        header, *rows = csv.reader(file)
    page = [
        "# Machine code of the GPU kernels\n\nWhat the compiler makes of each CUDA kernel, "
        f"here {version} for compute capability {arch[3:-1]}.{arch[-1]}. A test\n"
        "fails where a kernel becomes worse; `python tests/kernel_table.py` writes the table,\n"
        f"which is {{download}}`also a file <gpu-kernels.csv>`. Numbers are better when smaller.\n{COUNTS}"
    ]
    for name, group in itertools.groupby(rows, key=lambda row: row[0]):
        lines = [
            header[1:],
            ["---", *["--:"] * len(header[2:])],
            *([f"`{row[1]}`", *row[2:]] for row in group),
        ]
        page.append(f"## {name}.cu\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    return "\n".join(page)


PAGES = {
    "reference/kernels.md": kernels_page,
    "reference/gpu-kernels.md": gpu_kernels_page,
    "reference/command-line.md": command_line_page,
    "gallery.md": gallery_page,
}

if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
