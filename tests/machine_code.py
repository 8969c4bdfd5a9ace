"""Count in PTX and machine code what makes kernels slow: divisions, conversions and fences inside loops."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import nvrtc

# Instructions of PTX or machine code, each followed by its operands.
WAIT = r"BAR\.|UCGABAR|NANOSLEEP|bar\.(?!warp)|barrier\.|nanosleep"
LOOK = r"LDG\S*\.STRONG\.GPU|LDS"  # at what another block writes, in a loop that sleeps between two looks
DIVISION = r"(div|rem)\.[su](16|32|64)"
RECIPROCAL = r"I2F\S*\.RP|CALL\S* .*__cuda_sm20_(div|rem)_[su]"
BRANCH = re.compile(r"(BR[AX]U?|JM[PX]U?|EXIT|RET|KILL|bra|brx|ret|exit)\b")
LABEL = re.compile(r"(\.L\w+|\$L\w+):")
SASS = re.compile(r"\s*/\*[0-9a-f]+\*/\s+(@!?U?P\w+\s)?\s*([A-Z][\w.]*)\s*(.*?)\s*;")
PTX = re.compile(r"\s*(@!?%\w+\s)?\s*([a-z][\w.:]*)\s*(.*?)\s*;")


@dataclass(frozen=True)
class Kernel(nvrtc.Kernel):
    """A kernel with counts of instructions, all of which are better when they are fewer.

    The steps of a kernel are its outermost loops in which threads wait for others, at a barrier or asleep
    between two looks at memory.  For a recurrence that is the loop over time.  The polls of a kernel are the
    innermost loops that sleep so.
    """

    instructions: int  # that can be reached
    divisions: int  # of integers, and remainders, in steps
    reciprocals: int  # for divisions of integers in steps, and calls for those of 64 bits
    conversions: int  # of integers to floats, in polls
    per_look: int  # instructions of a poll by its loads, the most of all polls
    per_copy: int  # instructions of a loop by its asynchronous copies, the most of all loops
    fences: int
    system_fences: int  # of them, those that the host and other devices see
    per_barrier: int  # fences by barriers of a grid or a cluster
    step_fences: int  # in steps
    constant: int  # loads through the read-only path


COUNTS = tuple(field.name for field in fields(Kernel) if field not in fields(nvrtc.Kernel))
COLUMNS = ("registers", "stack", "spilled", "shared", *COUNTS)


@dataclass
class Block:
    """Instructions that follow one another, each with its operands, and the blocks that may be next."""

    instructions: list[str]
    next: frozenset[int] = frozenset()


@dataclass
class Loop:
    """Blocks that can be reached from one another, and the loops within."""

    blocks: frozenset[int]
    nested: list[Loop]

    def all(self) -> Iterator[Loop]:
        """This loop and those within, at any depth."""
        yield self
        for loop in self.nested:
            yield from loop.all()


class Function:
    """The blocks and loops of a kernel, which `code` has in PTX or machine code."""

    def __init__(self, code: str, instruction: re.Pattern[str]) -> None:
        self.blocks = split_blocks(code, instruction)
        self.reached = frozenset({0})
        while new := self.reached.union(*(self.blocks[n].next for n in self.reached)) - self.reached:
            self.reached |= new
        self.outermost = self.find_loops(self.reached)
        self.loops = [loop for outer in self.outermost for loop in outer.all()]

    def find_loops(self, within: frozenset[int]) -> list[Loop]:
        """The outermost loops among some blocks, each with those that remain when it is not entered anew."""
        after = self.reach(within)
        loops, rest = [], within
        while rest:
            first = min(rest)
            loop = frozenset(n for n in rest if after[first] >> n & 1 and after[n] >> first & 1)
            if loop:
                outside = self.reached - loop
                entries = loop & frozenset({0}).union(*(self.blocks[n].next for n in outside))
                loops.append(Loop(loop, self.find_loops(loop - entries)))
            rest -= loop | {first}
        return loops

    def reach(self, within: frozenset[int]) -> dict[int, int]:
        """The blocks that can be reached from each of some blocks by a path among them, as bits."""
        after = dict.fromkeys(within, 0)
        followers = {n: self.blocks[n].next & within for n in sorted(within, reverse=True)}
        changed = True
        while changed:
            changed = False
            for n, following in followers.items():
                bits = functools.reduce(lambda bits, f: bits | after[f] | 1 << f, following, 0)
                changed |= bits != after[n]
                after[n] = bits
        return after

    def count(self, pattern: str, blocks: Iterable[int]) -> int:
        """How many instructions of some blocks match a pattern."""
        return sum(bool(re.match(pattern, x)) for n in blocks for x in self.blocks[n].instructions)

    def steps(self) -> frozenset[int]:
        """The blocks of the outermost loops in which threads wait for others."""
        return frozenset().union(*(x.blocks for x in self.outermost if self.count(WAIT, x.blocks)))

    def per(self, pattern: str, parts: Iterable[frozenset[int]]) -> int:
        """Instructions for each that matches a pattern, rounded up, the most of some parts that have any."""
        counts = [(self.count("", blocks), self.count(pattern, blocks)) for blocks in parts]
        return max((-(-total // matching) for total, matching in counts if matching), default=0)


def split_blocks(code: str, pattern: re.Pattern[str]) -> list[Block]:
    """The blocks of a function in the order of the text, the first being where it begins."""
    blocks, labels = [Block([])], {}
    branches: dict[
        int, tuple[bool, str]
    ] = {}  # of blocks that end so: whether others never follow, and targets
    tables = dict(re.findall(r"(\$L\w+):\s*\.branchtargets(.*?);", code, re.S))
    for line in code.splitlines():
        if label := LABEL.match(line):
            if blocks[-1].instructions:
                blocks.append(Block([]))
            labels[label[1]] = len(blocks) - 1
        elif match := pattern.match(line):
            guard, opcode, operands = match.groups()
            blocks[-1].instructions.append(f"{opcode} {operands}")
            if BRANCH.match(opcode):
                # An operand guards, too: BRA.DIV ~URZ, `(.L_x_1)
                guarded = guard or (opcode.startswith("BRA") and operands[0] != "`")
                targets = tables.get(operands.split(" ")[-1], operands)
                branches[len(blocks) - 1] = not guarded, targets
                blocks.append(Block([]))
    for n, block in enumerate(blocks):
        jumps, targets = branches.get(n, (False, ""))
        block.next = frozenset(labels[name] for name in re.findall(r"[.$]L\w+", targets) if name in labels)
        if not jumps and n + 1 < len(blocks):
            block.next |= {n + 1}
    return blocks


def count_instructions(ptx: str, sass: str) -> dict[str, int]:
    """The counts of `Kernel`, by name, from PTX and machine code."""
    high, low = Function(ptx, PTX), Function(sass, SASS)
    steps = low.steps()
    polls = [loop.blocks for loop in low.loops if not loop.nested and low.count("NANOSLEEP", loop.blocks)]
    direct = [loop.blocks.difference(*(x.blocks for x in loop.nested)) for loop in low.loops]
    fences = low.count("MEMBAR", low.reached)
    barriers = low.count("UCGABAR_ARV", low.reached) + sum(low.count("CCTL.IVALL", x) > 0 for x in polls)
    return {
        "instructions": low.count("", low.reached),
        "divisions": high.count(DIVISION, high.steps()),
        "reciprocals": low.count(RECIPROCAL, steps),
        "conversions": sum(low.count("I2F", blocks) for blocks in polls),
        "per_look": low.per(LOOK, polls),
        "per_copy": low.per("LDGSTS", direct),
        "fences": fences,
        "system_fences": low.count(r"MEMBAR\S*\.SYS", low.reached),
        "per_barrier": -(-fences // max(barriers, 1)),
        "step_fences": low.count("MEMBAR", steps),
        "constant": low.count(r"LDG\S*\.CONSTANT", low.reached),
    }
