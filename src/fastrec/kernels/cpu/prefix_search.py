"""The likeliest labels of sequences on the CPU, by prefix beam search.

Prefixes are nodes of a tree: a node is a prefix, whatever way the search has come to it.
"""

from __future__ import annotations

import math

import numpy as np

from .arrays import borrow, empty, fill, keep
from .ctc import below, largest, total
from .elementwise import elementwise
from .functions import exp_negative
from .jit import jit
from .parallel import tasks

ROOT, NONE = 0, -1

exponentials = elementwise(lambda t: exp_negative(t))


@jit
def log_add(a, b):
    """The logarithm of e^a + e^b."""
    high, low = max(a, b), min(a, b)
    return high + math.log1p(math.exp(low - high)) if low > -np.inf else high


@jit
def offer(score, index, best, chosen, kept):
    """Insert a score into the best ones, of which there are `kept`, after equal ones; return how many are."""
    place = kept
    if kept == len(best):
        if not score > best[kept - 1]:
            return kept
        place -= 1
    elif not score > -np.inf:
        return kept
    while place > 0 and best[place - 1] < score:
        best[place], chosen[place] = best[place - 1], chosen[place - 1]
        place -= 1
    best[place], chosen[place] = score, index
    return max(kept, min(kept + 1, len(best)))


@jit
def find_longer(tree, node, label):
    """The node of a prefix and one more label, or NONE."""
    child = tree[2, node]
    while child != NONE and tree[1, child] != label:
        child = tree[3, child]
    return child


@jit
def longer(tree, node, label, nodes):
    """The node of a prefix and one more label, made if there is none; return it and the number of nodes."""
    child = find_longer(tree, node, label)
    if child != NONE:
        return child, nodes
    tree[0, nodes], tree[1, nodes], tree[2, nodes] = node, label, NONE
    tree[3, nodes], tree[4, nodes] = tree[2, node], NONE
    tree[2, node] = nodes
    return nodes, nodes + 1


@jit
def stay(logs, blank, tree, place, at, ends, new):
    """Chances of a prefix to be that after a step as well: new[0] to end in blank, new[1] in its label."""
    node = at[place]
    label = tree[1, node]
    new[0, place], new[1, place] = ends[2, place] + logs[blank], -np.inf
    if node != ROOT:
        new[1, place] = ends[1, place] + logs[label]
        shorter = tree[4, tree[0, node]]
        if shorter != NONE:
            before = ends[0, shorter] if tree[1, at[shorter]] == label else ends[2, shorter]
            new[1, place] = log_add(new[1, place], before + logs[label])


@jit
def take_step(logs, blank, tree, nodes, count, at, ends, new, best, chosen):
    """Replace `count` prefixes by those after a step; return how many they are, and the number of nodes.

    tree (5, .): of each node the one before its label, the label, one of those after it, the next of those
    that have the same one before them, and its place among the prefixes that are kept.  at (2, width): nodes
    of these, and work.  ends (5, width): logarithms of the chances to end in blank, in the label, and of
    both, and work.
    """
    o, likeliest, kept = len(logs), -np.inf, 0
    for label in range(o):
        if label != blank:
            likeliest = max(likeliest, logs[label])
    for place in range(count):
        stay(logs, blank, tree, place, at[0], ends, new)
        kept = offer(log_add(new[0, place], new[1, place]), place, best, chosen, kept)
    for place in range(count):
        if kept == len(best) and not ends[2, place] + likeliest > best[kept - 1]:
            continue
        node = at[0, place]
        for label in range(o):
            before = ends[0, place] if node != ROOT and tree[1, node] == label else ends[2, place]
            score = before + logs[label]
            if label == blank or (kept == len(best) and not score > best[kept - 1]):
                continue
            child = find_longer(tree, node, label)
            if child == NONE or tree[4, child] == NONE:  # else it stays
                kept = offer(score, count + place * o + label, best, chosen, kept)
    for place in range(count):
        tree[4, at[0, place]] = NONE
    for place in range(kept):
        index = chosen[place]
        if index < count:
            at[1, place] = at[0, index]
            ends[3, place], ends[4, place] = new[0, index], new[1, index]
        else:
            before, label = (index - count) // o, (index - count) % o
            at[1, place], nodes = longer(tree, at[0, before], label, nodes)
            ends[3, place], ends[4, place] = -np.inf, best[place]
    for place in range(kept):
        at[0, place] = at[1, place]
        tree[4, at[1, place]] = place
        ends[0, place], ends[1, place], ends[2, place] = ends[3, place], ends[4, place], best[place]
    return kept, nodes


@tasks(
    lambda width, blank, outputs, *rest: (
        len(outputs),
        outputs[..., 0].size * (5.0 * outputs.shape[2] + width * (outputs.shape[2] + 100)),
    )
)
def ctc_prefix_search(row, width, blank, outputs, lengths, labels, counts, scores):
    """The likeliest labels of a row."""
    steps, o = lengths[row], outputs.shape[2]
    memory = (
        empty((5, 1 + steps * width), np.int64),
        empty((3, width), np.int64),
        empty((8, width), np.float64),
        empty((3, o), np.float64),
        empty((16,), outputs),
    )
    tree, places, chances, work, tops = borrow(memory)
    at, chosen, ends, new, best = places[:2], places[2], chances[:5], chances[5:7], chances[7]
    shifted, values, logs = work[0], work[1], work[2]
    tree[0, ROOT], tree[1, ROOT], tree[2, ROOT], tree[3, ROOT], tree[4, ROOT] = NONE, NONE, NONE, NONE, 0
    at[0, 0], ends[0, 0], ends[1, 0], ends[2, 0] = ROOT, 0.0, -np.inf, 0.0
    count, nodes = 1, 1
    for t in range(steps):
        below(outputs[row, t], largest(outputs[row, t], tops), shifted)
        exponentials((shifted,), (values,))
        log_total = math.log(total((values,)))
        for j in range(o):
            logs[j] = shifted[j] - log_total
        count, nodes = take_step(logs, blank, tree, nodes, count, at, ends, new, best, chosen)
    for place in range(labels.shape[1]):
        length, node = 0, at[0, place] if place < count else ROOT
        end = node
        while end != ROOT:
            length, end = length + 1, tree[0, end]
        fill(labels[row, place], length, NONE)
        counts[row, place], scores[row, place] = length, ends[2, place] if place < count else -np.inf
        for step in range(length):
            labels[row, place, length - 1 - step] = tree[1, node]
            node = tree[0, node]
    keep(memory)
