"""PyTorch's attention at the same shapes, for the lines beside ours: SDPA with cuDNN and with FlashAttention-2."""
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as sdpa


def median_ms(fn, reps):
    for _ in range(3):
        fn()
    times = []
    for _ in range(reps):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record()
        fn()
        b.record()
        b.synchronize()
        times.append(a.elapsed_time(b))
    return sorted(times)[reps // 2]


print("torch", torch.__version__, torch.cuda.get_device_name(0))
for length in (23296, 32760):
    q, k, v = (torch.randn(1, 12, length, 128, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    for name, backend in (("cuDNN", SDPBackend.CUDNN_ATTENTION), ("FA2", SDPBackend.FLASH_ATTENTION)):
        with sdpa_kernel(backend):
            ms = median_ms(lambda: sdpa(q, k, v), 9)
        print(f"SDPA {name:6} L={length}  {ms:7.3f} ms  {4 * length * length * 1536 / ms * 1e-9:6.1f} TFLOPS")
