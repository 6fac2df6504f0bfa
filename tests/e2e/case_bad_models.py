"""Models that cannot be used: each is refused with one message that names the file, what was wanted and what was found."""

import json
import os
import shutil
import struct

from harness import DATA, FASTWAN, TAEHV, WAN, Case, read_safetensors, rebuilt, rename, safetensors

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


class BadModel(Case):
    def refuses_model(self, model, *says, **more):
        """generate, plan and info all refuse it, in the same words."""
        done = self.refuses_to_generate("x", model=model, says=says, **more)
        for command in ("plan", "info"):
            other = self.refuses(command, "-m", model, "--taehv", TAEHV, says=says, **more)
            self.assertEqual(other.message.splitlines()[0], done.message.splitlines()[0])


class Directories(BadModel):
    def test_missing(self):
        self.refuses_model("nowhere", "nowhere: there is no such model directory")
        self.refuses_model("", "no such model directory")

    def test_a_file(self):
        (self.here / "m.safetensors").write_bytes(b"")
        self.refuses_model("m.safetensors", "m.safetensors: wanted a model directory, found a file", "--transformer")

    def test_no_index(self):
        model = self.model()
        (model / "model_index.json").unlink()
        self.refuses_model(model, model, "no model_index.json", "Diffusers layout")
        (self.here / "empty").mkdir()
        self.refuses_model("empty", "no model_index.json")

    def test_unreadable(self):
        program, model = self.readable_by_all()
        args = ("plan", "-m", "model", "--size", "64x48", "--frames", 9)
        self.assertEqual(self.as_user(program, *args).status, 0)
        for path in ("model_index.json", "transformer/config.json", "text_encoder/model.safetensors", "tokenizer/spiece.model",
                     "taew2_1.safetensors", "transformer/diffusion_pytorch_model-00002-of-00003.safetensors"):
            with self.subTest(path=path):
                (model / path).chmod(0)
                done = self.as_user(program, *args)
                (model / path).chmod(0o644)
                self.assertEqual(done.status, 1)
                self.assertRegex(done.err, rf"swan: .*{path}: .*[Pp]ermission denied\n")
        for path in (".", "transformer"):
            with self.subTest(path=path):
                (model / path).chmod(0)
                done = self.as_user(program, *args)
                (model / path).chmod(0o755)
                self.assertEqual(done.status, 1)
                self.assertRegex(done.err, "swan: .*model")

    def test_part_missing(self):
        for part in ("text_encoder", "transformer", "tokenizer"):
            with self.subTest(part=part):
                model = self.model(part)
                shutil.rmtree(model / part)
                self.refuses_model(model, f"{model}/{part}")

    def test_read_only_is_fine(self):
        program, model = self.readable_by_all()
        for path in sorted(model.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        (self.here / "out").mkdir()
        (self.here / "out").chmod(0o777)
        done = self.as_user(program, "generate", "x", "-m", "model", "--size", "64x48", "--frames", 5, "--steps", 1, "-o", "out/x.mp4")
        for path in model.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.assertEqual((done.status, os.listdir(self.here / "out")), (0, ["x.mp4"]), done.err)


class Configs(BadModel):
    def test_wrong_class(self):
        model = self.model()
        self.edit_json(model / "model_index.json", _class_name="WanImageToVideoPipeline")
        self.refuses_model(model, "model_index.json: _class_name: wanted WanPipeline or WanDMDPipeline, found \"WanImageToVideoPipeline\"")
        self.edit_json(model / "model_index.json", _class_name=None)
        self.refuses_model(model, "model_index.json", "_class_name")
        self.edit_json(model / "model_index.json", _class_name=7)
        self.refuses_model(model, "model_index.json", "_class_name", "string")

    def test_broken_json(self):
        for name in ("model_index.json", "transformer/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json", "swan.json"):
            for text in ("", "{", "[1, 2]", '{"a": 1,}', "\xff\xfe", '{"a": 1, "a": 2}', "nul", "{" * 100000):
                with self.subTest(name=name, text=text[:9]):
                    model = self.model()
                    self.replace(model / name, text.encode("latin1"))
                    self.refuses_to_generate("x", model=model, says=f"{model}/{name}")
                    shutil.rmtree(model)

    def test_wrong_values(self):
        for name, key, value in (("transformer/config.json", "num_layers", 0), ("transformer/config.json", "num_layers", 10 ** 9),
                                 ("transformer/config.json", "ffn_dim", "wide"), ("transformer/config.json", "num_attention_heads", None),
                                 ("transformer/config.json", "attention_head_dim", 127), ("transformer/config.json", "patch_size", [1, 4, 4]),
                                 ("transformer/config.json", "qk_norm", "layer_norm"), ("transformer/config.json", "eps", -1),
                                 ("text_encoder/config.json", "vocab_size", -4), ("text_encoder/config.json", "num_layers", 4096),
                                 ("text_encoder/config.json", "d_model", 2.5), ("text_encoder/config.json", "feed_forward_proj", "relu"),
                                 ("scheduler/scheduler_config.json", "flow_shift", 1e9), ("swan.json", "sampler", "ddim"),
                                 ("swan.json", "fps", 0)):
            with self.subTest(name=name, key=key, value=value):
                model = self.model()
                if name == "swan.json":
                    (model / name).write_text("{}")
                self.edit_json(model / name, **{key: value})
                self.refuses_to_generate("x", model=model, says=(f"{model}/{name}", key))
                shutil.rmtree(model)

    def test_config_and_weights_differ(self):
        for name, key, value, says in (("transformer/config.json", "num_layers", 3, "tensor blocks.2."),
                                       ("transformer/config.json", "num_layers", 1, "unexpected tensor blocks.1."),
                                       ("transformer/config.json", "ffn_dim", 640, "wanted shape [640"),
                                       ("transformer/config.json", "num_attention_heads", 3, "wanted shape [384"),
                                       ("text_encoder/config.json", "d_ff", 81, "wanted shape"),
                                       ("text_encoder/config.json", "num_layers", 1, "unexpected tensor encoder.block.1."),
                                       ("text_encoder/config.json", "vocab_size", 639, "wanted shape [639")):
            with self.subTest(name=name, key=key):
                model = self.model()
                self.edit_json(model / name, **{key: value})
                self.refuses_to_generate("x", model=model, says=(f"{model}/{name.split('/')[0]}", says))
                shutil.rmtree(model)

    def test_image_to_video(self):
        for change in (dict(image_dim=1280), dict(added_kv_proj_dim=5120), dict(in_channels=36)):
            with self.subTest(**change):
                model = self.model()
                self.edit_json(model / "transformer/config.json", **change)
                self.refuses_model(model, "transformer/config.json: an image-to-video transformer", "only text-to-video is supported")
                shutil.rmtree(model)

    def test_text_width(self):
        """A transformer for another text encoder."""
        model = self.model()
        self.edit_json(model / "transformer/config.json", text_dim=64)
        wider = lambda name, dtype, shape, data: ((dtype, [shape[0], 64], bytes(shape[0] * 64 * 2))
                                                  if name.endswith("text_embedder.linear_1.weight") else (dtype, shape, data))
        (self.here / "t.safetensors").write_bytes(rebuilt(FASTWAN / WEIGHTS, wider))
        self.refuses_to_generate("x", "--transformer", "t.safetensors", model=model,
                                 says=(model, "the text encoder's d_model is 48, the transformer's text_dim is 64"))


class Weights(BadModel):
    """Damage to the transformer's one file."""

    def setUp(self):
        super().setUp()
        self.dir = self.model(base=FASTWAN)
        self.file = self.dir / WEIGHTS
        self.header, self.data = read_safetensors(FASTWAN / WEIGHTS)
        self.name = "blocks.1.ffn.net.2.weight"

    def damaged(self, content, *says):
        self.replace(self.file, content)
        self.refuses_to_generate("x", model=self.dir, says=(self.file, *says))

    def test_truncated(self):
        raw = (FASTWAN / WEIGHTS).read_bytes()
        for size in (0, 1, 7, 8, 9, 100, len(raw) // 2, len(raw) - 1):
            with self.subTest(size=size):
                self.damaged(raw[:size])
        self.damaged(raw + b"x", "found")  # and one byte too many

    def test_absurd_headers(self):
        for size in (0, 1, 2 ** 31, 2 ** 63, 2 ** 64 - 1, 2 ** 64 - 8, len(self.data)):
            with self.subTest(size=size):
                self.damaged(struct.pack("<Q", size) + b"{}" + self.data)
        for text in (b"", b"{}", b"[]", b"{", b"\0" * 100, b'{"a": 3}', b'{"a": {}}', b"\xff" * 64):
            with self.subTest(text=text):
                self.damaged(safetensors(text, b""))

    def test_absurd_entries(self):
        entry = self.header[self.name]
        begin, end = entry["data_offsets"]
        for change in (dict(data_offsets=[begin - 4, end - 4]), dict(data_offsets=[end, begin]), dict(data_offsets=[begin, 2 ** 63]),
                       dict(data_offsets=[-4, end]), dict(data_offsets=[begin]), dict(data_offsets="all"), dict(shape=[2 ** 40, 2 ** 40]),
                       dict(shape=[-1, 5]), dict(shape=[1.5]), dict(shape=3), dict(dtype=5), dict(shape=[2 ** 62, 8])):
            with self.subTest(**change):
                self.damaged(safetensors(dict(self.header, **{self.name: dict(entry, **change)}), self.data))

    def test_overlap_and_hole(self):
        names = sorted(self.header, key=lambda n: self.header[n]["data_offsets"])
        begin, end = self.header[names[0]]["data_offsets"]
        second = self.header[names[1]]
        moved = dict(second, data_offsets=[o - 4 for o in second["data_offsets"]])
        self.damaged(safetensors(dict(self.header, **{names[1]: moved}), self.data), names[0], names[1], "overlap")
        later = {n: dict(e, data_offsets=[o + (4 if o >= end else 0) for o in e["data_offsets"]]) if n != names[0] else e
                 for n, e in self.header.items()}
        self.damaged(safetensors(later, self.data[:end] + bytes(4) + self.data[end:]), "belong to no tensor")

    def test_wrong_shape(self):
        entry = self.header[self.name]
        self.damaged(safetensors(dict(self.header, **{self.name: dict(entry, shape=entry["shape"][::-1])}), self.data),
                     f"tensor {self.name}: wanted shape [256, 320], found [320, 256]")

    def test_wrong_type(self):
        def other(dtype, width):
            return rebuilt(FASTWAN / WEIGHTS, lambda name, old, shape, data: (dtype, shape, bytes(len(data) // 2 * width))
                           if name == self.name else (old, shape, data))

        for dtype, width in (("I32", 4), ("U8", 1)):
            self.damaged(other(dtype, width), f"tensor {self.name}: wanted F32, F16, BF16 or F64, found {dtype}")
        for dtype, width in (("F8_E4M3", 1), ("BOOL", 1), ("I16", 2)):
            self.damaged(other(dtype, width), f"tensor {self.name} cannot be read", dtype)
        self.replace(self.file, other("F64", 8))  # unusual, and fine
        self.generate("x", "-o", "x.mp4", model=self.dir)

    def test_missing_and_unexpected(self):
        self.damaged(safetensors(rename(self.header, self.name, "blocks.1.ffn.net.3.weight"), self.data), f"tensor {self.name} is missing")
        more = dict(self.header, **{"blocks.0.lora_A.weight": {"dtype": "F32", "shape": [4], "data_offsets": [len(self.data), len(self.data) + 16]}})
        self.damaged(safetensors(more, self.data + bytes(16)), "unexpected tensor blocks.0.lora_A.weight")

    def test_gates_in_some_blocks(self):
        some = rebuilt(FASTWAN / WEIGHTS, lambda name, *rest: None if name.startswith("blocks.1.to_gate_compress") else rest)
        self.damaged(some, "to_gate_compress: wanted in all 2 blocks or none, found in 1")

    def test_other_kinds_of_file(self):
        self.damaged(b"PK\x03\x04" + bytes(1000), "found")
        self.damaged((WAN / "tokenizer/spiece.model").read_bytes())
        self.replace(self.file, TAEHV.read_bytes())
        self.refuses_model(self.dir, "is missing")
        self.replace(self.file, (FASTWAN / TEXT).read_bytes())
        self.refuses_model(self.dir, "is missing")

    def test_shards(self):
        model = self.model("shards")
        stem = model / "transformer/diffusion_pytorch_model"
        middle = stem.with_name(stem.name + "-00002-of-00003.safetensors")
        index = stem.with_name(stem.name + ".safetensors.index.json")
        middle.unlink()
        self.refuses_model(model, index, "-00002-of-00003.safetensors", "missing")
        index.unlink()
        self.refuses_model(model, "shard 2 of 3 is missing")
        middle.symlink_to(WAN / "transformer" / middle.name)
        good = json.loads((WAN / "transformer/diffusion_pytorch_model.safetensors.index.json").read_text())
        for where in ("../../secret.safetensors", "/etc/passwd", "a.bin", 5):
            with self.subTest(where=where):
                bad = dict(good, weight_map=dict(good["weight_map"], **{"proj_out.bias": where}))
                self.replace(index, json.dumps(bad))
                self.refuses_model(model, index, "proj_out.bias")

    def test_ambiguous(self):
        other = self.dir / "transformer/diffusion_pytorch_model.safetensors.index.json"
        other.write_text("{}")
        self.refuses_model(self.dir, f"{self.dir}/transformer")

    def test_text_encoder(self):
        raw = (FASTWAN / TEXT).read_bytes()
        header, data = read_safetensors(FASTWAN / TEXT)
        name = "encoder.final_layer_norm.weight"
        for content, says in ((raw[:-1], ""), (raw[:5], ""), (safetensors(rename(header, name, "x"), data), f"tensor {name} is missing")):
            self.replace(self.dir / TEXT, content)
            self.refuses_model(self.dir, self.dir / TEXT, says)


class Tokenizer(BadModel):
    def test_corrupt(self):
        raw = (WAN / "tokenizer/spiece.model").read_bytes()
        model = self.model()
        cases = [b"", b"\0", b"\xff" * 1000, raw[:1], raw[:len(raw) // 2], raw[:-1], b"{}", raw[:40] + b"\xff" * 64 + raw[104:]]
        for i, content in enumerate(cases):
            with self.subTest(i=i):
                self.replace(model / "tokenizer/spiece.model", content)
                self.refuses_to_generate("x", model=model, says=model / "tokenizer/spiece.model")

    def test_missing(self):
        model = self.model()
        (model / "tokenizer/spiece.model").unlink()
        self.refuses_model(model, model / "tokenizer/spiece.model", "No such file")

    def test_larger_than_the_table(self):
        model = self.model()
        self.edit_json(model / "text_encoder/config.json", vocab_size=8)
        fewer = lambda name, dtype, shape, data: ((dtype, [8, 48], data[:8 * 48 * (len(data) // shape[0] // shape[1])])
                                                  if name in ("shared.weight", "encoder.embed_tokens.weight") else (dtype, shape, data))
        self.replace(model / TEXT, rebuilt(WAN / TEXT, fewer))
        self.refuses_model(model, model, "the tokenizer has", "8 rows")


class Decoder(Case):
    def refuses_decoder(self, path, *says):
        self.refuses("generate", "x", "-m", WAN, "--taehv", path, "--size", "64x48", "--frames", 9, "--steps", 1, "-o", "x.mp4", says=says)

    def test_none(self):
        """The message says which file, where it is published, and its checksum; nothing was computed before it."""
        done = self.refuses("generate", "x", "-m", WAN, "--size", "64x48", "--frames", 9, "-o", "x.mp4",
                            says=(WAN, "taew2_1.safetensors", "--taehv FILE", "github.com/madebyollin/taehv", "git hash-object",
                                  "ec1a2be453a250aa406e912bb630c34463ba0b2f"))
        self.assertNotIn("denoise", done.err)
        self.assertNotIn("text 0", done.err)

    def test_pth(self):
        (self.here / "taew2_1.pth").write_bytes(b"PK\x03\x04")
        self.refuses_decoder("taew2_1.pth", "taew2_1.pth: .pth files cannot be read", ".safetensors")
        self.refuses_decoder("none.pth", "none.pth")

    def test_missing(self):
        self.refuses_decoder("none.safetensors", "none.safetensors: there is no such TAEHV decoder file")
        model = self.model()
        (model / "swan.json").write_text('{"taehv": "gone.safetensors"}')
        self.refuses("plan", "-m", model, says=f"{model}/gone.safetensors")

    def test_damaged(self):
        header, data = read_safetensors(TAEHV)
        raw, path = TAEHV.read_bytes(), self.here / "t.safetensors"
        name = "decoder.22.weight"
        entry = header[name]
        for content, says in ((raw[:100], ""), (raw[:-4], ""), (safetensors(rename(header, name, "decoder.23.weight"), data), name),
                              (safetensors(dict(header, **{name: dict(entry, shape=[entry["shape"][0] * 9, entry["shape"][1], 1, 1])}), data), name)):
            self.replace(path, content)
            self.refuses_decoder(path, path, says)

    def test_another_model(self):
        self.refuses_decoder(FASTWAN / WEIGHTS, FASTWAN / WEIGHTS)
        self.refuses_decoder(DATA / "taehv" / "latent.npy", "latent.npy")
        self.refuses_decoder(self.here, "")


class Override(Case):
    def test_missing_and_wrong(self):
        self.refuses_to_generate("x", "--transformer", "none.safetensors", says="none.safetensors: No such file")
        self.refuses_to_generate("x", "--transformer", TAEHV, says=(TAEHV, "is missing"))
        self.refuses_to_generate("x", "--transformer", WAN / "tokenizer" / "spiece.model", says="spiece.model")
        self.refuses_to_generate("x", "--device", "rocm", says='device: wanted auto, cpu, cuda or cuda:N, found "rocm"')
        self.refuses_to_generate("x", "--device", "cuda:99", says="cuda:99")
