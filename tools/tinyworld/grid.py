"""The README's grid of clips: one prompt a cell, all with the same seed and the model's recipe, none chosen after the fact.

    python tools/tinyworld/grid.py build/release/swan models/tinyworld docs/media/grid.gif [--seed 4]
"""

import argparse
import concurrent.futures
import os
import sys

import numpy as np
from PIL import Image

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import judge

PROMPTS = ["a big yellow duck swimming slowly to the right over the sea", "a big blue car driving slowly to the left in the city",
           "a big purple balloon rising up in the sky", "a big red rocket flying up at night", "a big brown cat walking to the left in a room",
           "a green turtle to the right of a red house in the snow", "a big orange fish swimming to the left in the sea",
           "a red mushroom growing in the forest", "a big white boat moving to the right at sunset"]
COLUMNS = 3


def main():
    p = argparse.ArgumentParser()
    p.add_argument("swan")
    p.add_argument("model")
    p.add_argument("out")
    p.add_argument("--seed", type=int, default=4)
    p.add_argument("--prompts", nargs="+", default=PROMPTS)
    p.add_argument("--jobs", type=int, default=2)
    a = p.parse_args()
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        clips = list(pool.map(lambda text: judge.generate(a.swan, a.model, ["--device", "cpu"], text, a.seed), a.prompts))
    blank = np.full_like(clips[0], 255)
    clips += [blank] * (-len(clips) % COLUMNS)
    rows = [np.concatenate(clips[i:i + COLUMNS], 2) for i in range(0, len(clips), COLUMNS)]
    frames = [Image.fromarray(f) for f in np.concatenate(rows, 1)[::2]]  # eight a second
    sample = Image.fromarray(np.concatenate([np.asarray(f) for f in frames[::5]]))
    palette = sample.quantize(255, method=Image.Quantize.MEDIANCUT, kmeans=8)  # one for all frames: no flicker, and small differences
    frames = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    frames[0].save(a.out, save_all=True, append_images=frames[1:], duration=[120 + 10 * (i % 2) for i in range(len(frames))], loop=0, optimize=True)
    print(a.out, os.path.getsize(a.out), "bytes")


if __name__ == "__main__":
    main()
