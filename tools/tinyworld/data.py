"""Live clips: worker processes render into one shared memory block; the trainer takes finished slots from it."""

import mmap
import multiprocessing as mp
import os
import queue
import random
import threading

import numpy as np
import sentencepiece as spm
import torch

import world
from model import MAX_IDS

CAPTIONS = 4  # per clip
TOKENS = (9, 10, 14)
MARKS = 9 * 10 * 14


def encode_ids(sp, text):
    """i64 [MAX_IDS], count; </s> appended, never padded with anything that is read."""
    ids = sp.encode(text)[:MAX_IDS - 1] + [1]
    out = np.zeros(MAX_IDS, np.int64)
    out[:len(ids)] = ids
    return out, len(ids)


def is_hard(w, scene):
    """What comes out worst (docs/MODEL-tinyworld.md): quick turns, small objects, and ground that is full of outlines."""
    return (w.name("motion", scene.motion) in ("bounce", "spin", "wobble") or scene.size == world.SMALL
            or w.name("background", scene.background) == "forest")


class Clips:
    """Deterministic set (seed, index), order as workers finish."""

    def __init__(self, build_dir, spiece, seed, start, workers, part=(0, 1), skip=0.0, slots=192, shape=(world.F, world.H, world.W, 3)):
        """part (i, n): scene indices of the i-th of n such sets, which share no scene. skip: the share of scenes that are not hard to
        leave out"""
        self.shape, self.size, self.skip = shape, int(np.prod(shape)), skip
        so = world.build(build_dir)
        ctx = mp.get_context("fork")
        self.mem = mmap.mmap(-1, slots * self.size)  # anonymous, so shared with forked children
        self.ids_mem = mmap.mmap(-1, slots * CAPTIONS * (MAX_IDS + 1) * 8)
        self.clips = np.frombuffer(self.mem, np.uint8).reshape(slots, *shape)
        self.ids = np.frombuffer(self.ids_mem, np.int64).reshape(slots, CAPTIONS, MAX_IDS + 1)
        self.marks_mem = mmap.mmap(-1, slots * MARKS)
        self.marks = np.frombuffer(self.marks_mem, np.uint8).reshape(slots, *TOKENS)
        self.free, self.full = ctx.SimpleQueue(), ctx.SimpleQueue()
        for i in range(slots):
            self.free.put(i)
        self.procs = [ctx.Process(target=self.work, args=(so, spiece, seed, start + part[0] * workers + k, part[1] * workers), daemon=True)
                      for k in range(workers)]
        for p in self.procs:
            p.start()

    def work(self, so, spiece, seed, index, stride):
        os.nice(5)
        w, sp = world.World(so), spm.SentencePieceProcessor(model_file=spiece)
        dice = random.Random(seed * 1000003 + index)
        while True:
            scene = w.scene(seed, index)
            if not is_hard(w, scene) and dice.random() < self.skip:
                index += stride
                continue
            slot = self.free.get()
            w.render(scene, out=self.clips[slot])
            for c in range(CAPTIONS):
                ids, n = encode_ids(sp, w.caption(scene, dice.getrandbits(32)))
                self.ids[slot, c, :MAX_IDS], self.ids[slot, c, MAX_IDS] = ids, n
            self.marks[slot] = w.object_tokens(scene)
            self.full.put(slot)
            index += stride

    def batch(self, n, window=None):
        """CPU tensors: clips u8 [n, F, H, W, 3], ids i64 [n, CAPTIONS, MAX_IDS + 1], object tokens u8 [n, 9, 10, 14]. window (frames, height, width):
        that much of every clip, on the 8-pixel grid of the latents, three times of four around a place on an object; and instead of tokens
        the same window of them, a cell of 8 x 8 pixels each: u8 [n, frames, height / 8, width / 8]. Of windows a clip gives three."""
        f, h, w = window or self.shape[:3]
        pin = torch.cuda.is_available()
        clips = torch.empty(n, f, h, w, 3, dtype=torch.uint8, pin_memory=pin)
        ids = torch.empty(n, CAPTIONS, MAX_IDS + 1, dtype=torch.int64, pin_memory=pin)
        marks = torch.empty(n, *((f, h // 8, w // 8) if window else TOKENS), dtype=torch.uint8, pin_memory=pin)
        uses = 3 if window else 1
        for i in range(n):
            slot = self.full.get() if i % uses == 0 else slot
            if window:
                t = random.randint(0, self.shape[0] - f)
                y, x = self.place(slot, t + f // 2, h, w)
                cells = self.marks[slot, np.arange(t, t + f) // 4].repeat(2, 1).repeat(2, 2)
                marks[i] = torch.from_numpy(cells[:, y:y + h // 8, x:x + w // 8])
                clips[i] = torch.from_numpy(self.clips[slot, t:t + f, 8 * y:8 * y + h, 8 * x:8 * x + w])
            else:
                clips[i], marks[i] = torch.from_numpy(self.clips[slot]), torch.from_numpy(self.marks[slot])
            ids[i] = torch.from_numpy(self.ids[slot])
            if i % uses == uses - 1 or i == n - 1:
                self.free.put(slot)
        return clips, ids, marks

    def place(self, slot, frame, h, w):
        """Upper left corner of a window, in cells of 8 pixels."""
        rows, columns = (self.shape[1] - h) // 8, (self.shape[2] - w) // 8
        y, x = random.randint(0, rows), random.randint(0, columns)
        on = np.argwhere(self.marks[slot, frame // 4])
        if len(on) and random.random() < 0.75:
            cy, cx = 2 * on[random.randrange(len(on))]
            y = min(max(int(cy) - random.randint(h // 32, h * 3 // 32), 0), rows)
            x = min(max(int(cx) - random.randint(w // 32, w * 3 // 32), 0), columns)
        return y, x

    def start(self, n, window=None, depth=3):
        """A thread keeps `depth` batches ready; change the size by another start()."""
        self.ready = queue.Queue(depth)

        def loop(ready):
            if torch.cuda.is_available():  # a new thread would pin its memory through the first GPU
                torch.cuda.set_device(int(os.environ.get("RANK", 0)))
            while ready is self.ready:
                ready.put(self.batch(n, window))
        threading.Thread(target=loop, args=(self.ready,), daemon=True).start()

    def take(self, device):
        return tuple(t.to(device, non_blocking=True) for t in self.ready.get())

    def close(self):
        for p in self.procs:
            p.terminate()
