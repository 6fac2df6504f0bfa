"""What tools/fidelity.py measures, on clips u8 [F, H, W, 3] of equal size. NumPy only."""

import struct
import zlib

import numpy as np

PSNR_MOST = 100.0  # dB: what equal clips get, so that they can be averaged
WINDOW = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
WINDOW /= WINDOW.sum()


def luma(clip):
    """f64 [F, H, W], 0..255: BT.709's weights on the stored (gamma-coded) values, as in the mp4."""
    return clip @ np.array([0.2126, 0.7152, 0.0722])


def psnr(a, b):
    """dB, over all three channels of all frames, peak 255; PSNR_MOST when equal."""
    mse = np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2, dtype=np.float64)
    return min(PSNR_MOST, 10 * np.log10(255 ** 2 / mse)) if mse > 0 else PSNR_MOST


def blur(x):
    """The 11 x 11 Gaussian window of sigma 1.5, where it lies inside the picture: [F, H, W] -> [F, H - 10, W - 10]."""
    h, w = x.shape[1] - 10, x.shape[2] - 10
    x = sum(k * x[:, i:i + h] for i, k in enumerate(WINDOW))
    return sum(k * x[:, :, i:i + w] for i, k in enumerate(WINDOW))


def ssim(a, b):
    """Mean structural similarity of luma (Wang et al. 2004: K1 0.01, K2 0.03, L 255, no padding), over pixels and frames."""
    total = 0.0
    for f in range(len(a)):  # a frame at a time: five filtered pictures stay in the cache
        x, y = luma(a[f:f + 1]), luma(b[f:f + 1])
        mx, my, xx, yy, xy = blur(np.concatenate((x, y, x * x, y * y, x * y)))
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        up = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
        total += np.mean(up / ((mx * mx + my * my + c1) * (xx - mx * mx + yy - my * my + c2)))
    return total / len(a)


def motion(clip):
    """Mean absolute difference of luma between neighbouring frames, in levels of 0..255."""
    return float(np.mean(np.abs(np.diff(luma(clip), axis=0)))) if len(clip) > 1 else 0.0


def relative_l2(a, b):
    """|b - a| / |a|"""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(np.linalg.norm(b - a) / np.linalg.norm(a))


def draws(n, times=2000, seed=0):
    """The resampled prompts of a bootstrap: i64 [times, n]. The same for every number, so differences stay paired."""
    return np.random.default_rng(seed).integers(0, n, (times, n))


def interval(up, down, picks):
    """sum(up) / sum(down) over prompts, and its 95 % bootstrap interval (percentiles over resampled prompts).

    A mean has ones in `down`; a share of those that were asked, or a ratio of two means, has what it divides by. None when
    nothing is there to divide by."""
    up, down = np.asarray(up, np.float64), np.asarray(down, np.float64)
    if down.sum() == 0:
        return None
    below = down[picks].sum(1)
    values = up[picks].sum(1)[below != 0] / below[below != 0]
    return [float(up.sum() / down.sum()), *(float(x) for x in np.percentile(values, [2.5, 97.5]))]


def png(path, picture):
    """Writes u8 [H, W, 3]."""
    h, w, _ = picture.shape
    rows = np.concatenate((np.zeros((h, 1), np.uint8), picture.reshape(h, 3 * w)), 1)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b""))


def strip(clip, frames=5, scale=2):
    """Frames of a clip side by side, first and last among them, each `scale` times smaller: u8 [h, w, 3]."""
    at = np.linspace(0, len(clip) - 1, min(frames, len(clip))).round().astype(int)
    f, h, w, _ = clip.shape
    h, w = h // scale, w // scale
    small = clip[at, :h * scale, :w * scale].reshape(len(at), h, scale, w, scale, 3).mean((2, 4))
    return np.concatenate(list(small.round().astype(np.uint8)), 1)


def sheet(pairs):
    """One row a prompt: strip of a, gap, strip of b."""
    rows = []
    for a, b in pairs:
        rows.append(np.concatenate((a, np.full((a.shape[0], 8, 3), 255, np.uint8), b), 1))
        rows.append(np.full((3, rows[0].shape[1], 3), 255, np.uint8))
    return np.concatenate(rows[:-1])
