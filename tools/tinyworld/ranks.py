"""Training on several GPUs of one machine: one process each, gradients averaged, one clock.

train.py --ranks N starts itself N times; each copy sees all GPUs and takes the one of its number. Without --ranks nothing here
does anything. Backend: NCCL on GPUs, gloo on a CPU.
"""

import datetime
import os
import subprocess
import sys
import tempfile
import time

import torch
import torch.distributed as dist

PORT = 29631
FIRST_SUM_SECONDS = 90  # by then all ranks have added up something, or the start is given up


def launch(n):
    """Runs this program n times as ranks 0..n-1. Returns an exit code; when one rank ends badly the others are ended."""
    with tempfile.TemporaryDirectory() as d:
        ready = os.path.join(d, "ready")
        env = dict(os.environ, WORLD_SIZE=str(n), READY=ready, GLOO_SOCKET_IFNAME=os.environ.get("GLOO_SOCKET_IFNAME", "lo"))
        ranks = [subprocess.Popen([sys.executable, *sys.argv], env=dict(env, RANK=str(i))) for i in range(n)]
        started, bad = time.time(), 0
        while any(p.poll() is None for p in ranks):
            bad = bad or next((p.returncode for p in ranks if p.returncode), 0)
            late = not os.path.exists(ready) and time.time() - started > FIRST_SUM_SECONDS
            if bad or late:
                bad = bad or 1
                print(f"ranks: {'no first sum in time' if late else 'one ended badly'}", flush=True)
                for p in ranks:
                    p.kill()
            time.sleep(0.2)
        return bad or next((p.returncode for p in ranks if p.returncode), 0)


class Ranks:
    """rank of n; n is 1 without a launcher."""

    def __init__(self):
        self.rank, self.n = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.store = None

    @property
    def first(self):
        return self.rank == 0

    def join(self, device):
        """After forks, before the first sum."""
        if device == "cuda":
            torch.cuda.set_device(self.rank)
        if self.n == 1:
            return
        self.store = dist.TCPStore("127.0.0.1", PORT, self.n, self.first, timeout=datetime.timedelta(seconds=60))
        dist.init_process_group("nccl" if device == "cuda" else "gloo", store=self.store, rank=self.rank, world_size=self.n,
                                timeout=datetime.timedelta(seconds=200))
        one = torch.ones(1, device=device)
        dist.all_reduce(one)
        if one.item() != self.n:
            raise RuntimeError(f"ranks: the first sum is {one.item()}, wanted {self.n}")
        if self.first:
            open(os.environ["READY"], "w").close()

    def mean(self, t):
        """In place, of one contiguous tensor."""
        if self.n > 1:
            dist.all_reduce(t)
            t.div_(self.n)

    def copy_first(self, params):
        """Parameters of rank 0 to all."""
        if self.n > 1:
            flat = torch.cat([p.detach().reshape(-1) for p in params])
            dist.broadcast(flat, 0)
            i = 0
            with torch.no_grad():
                for p in params:
                    p.copy_(flat[i:i + p.numel()].view(p.shape))
                    i += p.numel()

    def apart(self, params):
        """Largest difference of a parameter to rank 0's, over all ranks; 0 as long as all do the same arithmetic."""
        if self.n == 1:
            return 0.0
        flat = torch.cat([p.detach().reshape(-1) for p in params])
        other = flat.clone()
        dist.broadcast(other, 0)
        d = (flat - other).abs().max()
        dist.all_reduce(d, dist.ReduceOp.MAX)
        return d.item()

    def leave(self):
        if self.n > 1:
            dist.barrier()
            dist.destroy_process_group()


class Clock:
    """Seconds since the start, the same on every rank: rank 0 tells its own every few steps, so that all end at one step.
    One clock a process."""

    def __init__(self, ranks, began=None, every=20):
        self.ranks, self.every, self.started, self.agreed = ranks, every, began or time.time(), 0.0

    def own(self):
        return time.time() - self.started

    def at(self, step):
        if self.ranks.n == 1:
            return self.own()
        if step % self.every == 0:
            key = f"clock/{step}"
            if self.ranks.first:
                self.ranks.store.set(key, repr(self.own()))
            self.agreed = float(self.ranks.store.get(key))
        return self.agreed


class Gradients:
    """Gradients of all parameters in one block: cleared, and averaged over ranks, by one call each."""

    def __init__(self, params, ranks):
        params = list(params)
        padded = [-(-p.numel() // 64) * 64 for p in params]
        self.flat, self.ranks = torch.zeros(sum(padded), device=params[0].device), ranks
        i = 0
        for p, n in zip(params, padded):
            p.grad = self.flat.as_strided(p.shape, p.stride(), i)  # the parameter's own order in memory, as fused optimizers want
            i += n

    def clear(self):
        self.flat.zero_()

    def average(self):
        self.ranks.mean(self.flat)
