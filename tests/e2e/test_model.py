#!/usr/bin/env python3
# variants: asan
"""tacit model: networks come in whole or not at all, keep their licence, source
and hashes, and go out as they came.
"""
import fcntl
import glob
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import begin, finish, folder, tacit, until, write  # noqa: E402
from scripted import LIST, TEXT, pair, text  # noqa: E402

F32, F16, Q8_0, Q2_K = 0, 1, 8, 10


# ---- files ------------------------------------------------------------------

def tokens():
    words = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    words += ["\u2581", "a", "b", "ab"]
    return words, [2, 3, 3] + [6] * 256 + [1] * 4


def bytes_of(type_, dims):
    n = 1
    for d in dims:
        n *= d
    return {F32: n * 4, F16: n * 2, Q8_0: n // 32 * 34, Q2_K: n // 256 * 84}[
        type_]


def gguf(tensors, family="llama", more=(), cut=0):
    """A GGUF file of (name, type, dims) with counted bytes as data."""
    words, classes = tokens()
    pairs = [pair("general.architecture", family),
             pair(f"{family}.block_count", 1),
             pair(f"{family}.embedding_length", 64),
             pair(f"{family}.feed_forward_length", 64),
             pair(f"{family}.attention.head_count", 2),
             pair(f"{family}.attention.layer_norm_rms_epsilon", 1e-5),
             pair("tokenizer.ggml.model", "llama"),
             pair("tokenizer.ggml.tokens", words),
             pair("tokenizer.ggml.token_type", classes),
             pair("tokenizer.ggml.unknown_token_id", 0), *more]
    infos, data = b"", b""
    for name, type_, dims in tensors:
        n = bytes_of(type_, dims)
        infos += (text(name) + struct.pack("<I", len(dims)) +
                  struct.pack(f"<{len(dims)}Q", *dims) +
                  struct.pack("<IQ", type_, len(data)))
        # Small numbers whichever type: no exponent is all ones.
        unit = bytes((i * 7 + len(name)) % 56 for i in range(256))
        data += (unit * (n // 256 + 1))[:n]
        data += b"\0" * (-len(data) % 32)
    head = (b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) +
            b"".join(pairs) + infos)
    head += b"\0" * (-len(head) % 32)
    whole = head + data
    return whole[:len(whole) - cut]


SMALL = [("token_embd.weight", F32, (64, 263)),
         ("blk.0.attn_norm.weight", F32, (64,)),
         ("blk.0.attn_q.weight", Q8_0, (64, 64)),
         ("blk.0.attn_k.weight", F16, (64, 64)),
         ("blk.0.attn_v.weight", F16, (64, 64)),
         ("blk.0.attn_output.weight", Q8_0, (64, 64)),
         ("blk.0.ffn_norm.weight", F32, (64,)),
         ("blk.0.ffn_gate.weight", Q8_0, (64, 64)),
         ("blk.0.ffn_up.weight", Q8_0, (64, 64)),
         ("blk.0.ffn_down.weight", Q8_0, (64, 64)),
         ("output_norm.weight", F32, (64,))]


def tensors_of(raw):
    """{name: (type, dims, bytes)} of a file without long lists before them."""
    at = 4
    _, n_tensors, n_pairs = struct.unpack_from("<IQQ", raw, at)
    at += 20
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8,
             12: 8}
    keys = {}

    def take_text(at):
        n, = struct.unpack_from("<Q", raw, at)
        return raw[at + 8:at + 8 + n], at + 8 + n

    for _ in range(n_pairs):
        key, at = take_text(at)
        kind, = struct.unpack_from("<I", raw, at)
        at += 4
        if kind == TEXT:
            keys[key.decode()], at = take_text(at)
        elif kind == LIST:
            kind, n = struct.unpack_from("<IQ", raw, at)
            at += 12
            for _ in range(n):
                at = take_text(at)[1] if kind == TEXT else at + sizes[kind]
        else:
            at += sizes[kind]
    infos = []
    for _ in range(n_tensors):
        name, at = take_text(at)
        n_dims, = struct.unpack_from("<I", raw, at)
        dims = struct.unpack_from(f"<{n_dims}Q", raw, at + 4)
        type_, offset = struct.unpack_from("<IQ", raw, at + 4 + 8 * n_dims)
        at += 16 + 8 * n_dims
        infos.append((name.decode(), type_, dims, offset))
    start = (at + 31) // 32 * 32
    return keys, {name: (type_, dims, raw[start + offset:start + offset +
                                          bytes_of(type_, dims)])
                  for name, type_, dims, offset in infos}


class Home:
    def __init__(self, at):
        self.at, self.home = at, os.path.join(at, "home")
        self.run("init").exits(0)

    def run(self, *words, **how):
        return tacit(*words, "--home", self.home, **how)

    def file(self, name, raw):
        return write(os.path.join(self.at, name), raw)

    def blobs(self):
        return sorted(os.listdir(os.path.join(self.home, "blobs")))

    def models(self):
        return self.run("model", "ls", "--json").exits(0).data["models"]


# ---- cases ------------------------------------------------------------------

def case_a_model_comes_in_is_shown_and_goes_out_as_it_came():
    with folder() as at:
        home, raw = Home(at), gguf(SMALL)
        path = home.file("Some Model.gguf", raw)
        m = home.run("model", "import", path, "--licence", "MIT", "--source",
                     "https://models.example/some", "--json").exits(0).data
        assert m["name"] == "some-model", m
        assert m["source_hash"] == hashlib.blake2b(
            raw, digest_size=32).hexdigest()
        assert m["licence"] == "MIT"
        assert home.blobs() == [m["hash"]]
        with open(os.path.join(home.home, "blobs", m["hash"]), "rb") as f:
            ours = f.read()
        assert hashlib.blake2b(ours, digest_size=32).hexdigest() == m["hash"]
        shown = home.run("model", "show", m["hash"][:8], "--json").exits(0)
        assert shown.data["vocabulary"] == 263
        home.run("model", "show", "some-model").exits(0).prints(
            "MIT", "https://models.example/some", m["source_hash"])
        out = os.path.join(at, "out.gguf")
        home.run("model", "export", "some-model", out).exits(0)
        assert os.stat(out).st_mode & 0o777 == 0o644
        assert os.stat(os.path.join(home.home, "blobs", m["hash"])
                       ).st_mode & 0o777 == 0o600
        with open(out, "rb") as f:
            keys, tensors = tensors_of(f.read())
        assert tensors == tensors_of(raw)[1]
        assert keys["general.license"] == b"MIT"
        home.run("model", "export", "some-model", out).exits(1)
        again = home.run("model", "import", out, "--name", "again", "--json")
        assert again.exits(0).data["licence"] == "MIT"


def case_importing_again_changes_nothing():
    with folder() as at:
        home = Home(at)
        path = home.file("m.gguf", gguf(SMALL))
        home.run("model", "import", path).exits(0)
        before = home.models(), home.blobs()
        home.run("model", "import", path).exits(0)
        assert (home.models(), home.blobs()) == before
        other = home.file("n/m.gguf", gguf(SMALL[:3]))
        home.run("model", "import", other).exits(1).says("--name")
        assert (home.models(), home.blobs()) == before


def case_a_smaller_copy_is_a_model_of_its_own():
    with folder() as at:
        home = Home(at)
        home.run("model", "import", home.file("m.gguf", gguf(SMALL))).exits(0)
        home.run("model", "quantize", "m", "q4_0").exits(0)
        small = {m["name"]: m for m in home.models()}["m-q4_0"]
        assert small["type"] == "Q4_0", small
        home.run("model", "quantize", "m", "q3_k").exits(4)
        home.run("model", "quantize", "m", "q4_0").exits(1).says("m-q4_0")
        home.run("model", "rm", "m", "m-q4_0").exits(0)
        assert home.models() == [] and home.blobs() == []
        home.run("model", "rm", "m").exits(1).says("model ls")


def case_what_is_not_read_is_named_with_a_way_out():
    with folder() as at:
        home = Home(at)
        odd = SMALL + [("blk.1.ffn_up.weight", Q2_K, (256, 2))]
        done = home.run("model", "import", home.file("a.gguf", gguf(odd)))
        done.exits(1).says("blk.1.ffn_up.weight", "Q2_K", "Q8_0", "E0720")
        done = home.run("model", "import",
                        home.file("b.gguf", gguf(SMALL, family="mamba")))
        done.exits(1).says("mamba", "qwen2")
        done = home.run("model", "import",
                        home.file("c.gguf", gguf(SMALL, cut=100)))
        done.exits(1).says("output_norm.weight", "cut off")
        few = [t for t in SMALL if "attn_v" not in t[0]]
        home.run("model", "import", home.file("e.gguf", gguf(few))).exits(
            1).says("blk.0.attn_v.weight")
        home.run("model", "import", home.file("d.gguf", b"PK\5\6")).exits(
            1).says("not a GGUF file")
        home.run("model", "import", os.path.join(at, "absent.gguf")).exits(1)
        home.run("model", "import", os.path.join(at, "a.gguf"), "--name",
                 "../x").exits(4)
        assert home.models() == [] and home.blobs() == []


FOLDER_CONFIG = {
    "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64,
    "max_position_embeddings": 64, "intermediate_size": 32, "vocab_size": 4,
    "num_attention_heads": 2, "hidden_act": "silu",
    "tie_word_embeddings": True}
FOLDER_TOKENS = {
    "pre_tokenizer": {"type": "ByteLevel"},
    "model": {"type": "BPE", "merges": ["a b"],
              "vocab": {"a": 0, "b": 1, "ab": 2, "c": 3}}}
BLOCK = "model.layers.0."


def write_folder(home, name, config):
    """What Hugging Face's libraries save: numbers 0, 1/8, 2/8 … a tensor."""
    sizes = {"model.embed_tokens.weight": (4, 64),
             "model.norm.weight": (64,),
             BLOCK + "self_attn.q_proj.weight": (64, 64),
             BLOCK + "self_attn.k_proj.weight": (64, 64),
             BLOCK + "self_attn.v_proj.weight": (64, 64),
             BLOCK + "self_attn.o_proj.weight": (64, 64),
             BLOCK + "mlp.gate_proj.weight": (32, 64),
             BLOCK + "mlp.up_proj.weight": (32, 64),
             BLOCK + "mlp.down_proj.weight": (64, 32),
             BLOCK + "input_layernorm.weight": (64,),
             BLOCK + "post_attention_layernorm.weight": (64,)}
    header, data = {}, b""
    for tensor, shape in sizes.items():
        n = 1
        for d in shape:
            n *= d
        header[tensor] = {"dtype": "F32", "shape": list(shape),
                          "data_offsets": [len(data), len(data) + 4 * n]}
        data += struct.pack(f"<{n}f", *(i / 8 for i in range(n)))
    raw = json.dumps(header).encode()
    home.file(f"{name}/model.safetensors",
              struct.pack("<Q", len(raw)) + raw + data)
    home.file(f"{name}/config.json", json.dumps(config))
    home.file(f"{name}/tokenizer.json", json.dumps(FOLDER_TOKENS))
    # What transformers writes where nothing is the longest text.
    home.file(f"{name}/tokenizer_config.json",
              json.dumps({"model_max_length": int(1e30)}))


def case_a_folder_of_safetensors_comes_in():
    with folder() as at:
        home = Home(at)
        write_folder(home, "m", FOLDER_CONFIG)
        home.run("model", "import", os.path.join(at, "m")).exits(0)
        out = os.path.join(at, "out.gguf")
        home.run("model", "export", "m", out).exits(0)
        with open(out, "rb") as f:
            tensors = tensors_of(f.read())[1]
        rows = [tensors["blk.0.attn_q.weight"][2][i * 256:(i + 1) * 256]
                for i in range(64)]
        first = [round(struct.unpack_from("<f", r)[0] * 8) // 64 for r in rows]
        assert first[:6] == [0, 16, 1, 17, 2, 18], first[:6]
        # And back: the same numbers, so the same file.
        again = os.path.join(at, "again")
        home.run("model", "export", "m", again, "--folder").exits(0)
        with open(os.path.join(again, "model.safetensors"), "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            listed = json.loads(f.read(size))
            start, end = listed[BLOCK + "self_attn.k_proj.weight"][
                "data_offsets"]
            f.seek(8 + size + start)
            assert f.read(end - start) == struct.pack(
                f"<{64 * 64}f", *(i / 8 for i in range(64 * 64)))
        home.run("model", "export", "m", again, "--folder").exits(1).says(
            "already")
        home.run("model", "export", "m", again + "2", "--folder", "--type",
                 "q8_0").exits(4).says("bf16")
        home.run("model", "export", "m", again + "2", "--type",
                 "f16").exits(4).says("--folder")
        assert not os.path.exists(again + "2")
        came = home.run("model", "import", again, "--name", "came",
                        "--json").exits(0).data
        mine = home.run("model", "show", "m", "--json").exits(0).data
        assert came["parameters"] == mine["parameters"], (came, mine)
        os.remove(os.path.join(at, "m/config.json"))
        home.run("model", "import", os.path.join(at, "m"), "--name",
                 "n").exits(1).says("config.json")


def refused(home, name, raw, *words):
    home.run("model", "import", home.file(name, raw)).exits(1).says(*words)


def case_what_is_taken_for_a_model_is_told_apart():
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    with folder() as at:
        home = Home(at)
        refused(home, "pytorch_model.bin", b"PK\3\4" + bytes(60), "PyTorch",
                "run code", "safetensors")
        refused(home, "old.pt", b"\x80\2\x8a\nl" + bytes(60), "PyTorch")
        refused(home, "lfs.gguf", b"version https://git-lfs.github.com/spec/v1"
                b"\noid sha256:4d7a\nsize 1\n", "git lfs pull")
        refused(home, "page.gguf", b"<!DOCTYPE html><html></html>", "web page")
        refused(home, "model.safetensors", struct.pack("<Q", len(header)) +
                header, "name the folder", "config.json")
        refused(home, "ggml.bin", b"tjgg" + bytes(60), "old format")
        refused(home, "part.gguf", gguf(SMALL[:4], more=[
            pair("split.no", 0), pair("split.count", 2)]), "part 1 of 2",
                "--merge")
        refused(home, "lora.gguf", gguf(SMALL[:4], more=[
            pair("general.type", "adapter")]), "adapter", "merge")
        os.mkfifo(os.path.join(at, "pipe.gguf"))
        home.run("model", "import", os.path.join(at, "pipe.gguf"),
                 timeout=20).exits(1).says("not a file")
        home.file("f/config.json", json.dumps(FOLDER_CONFIG))
        home.file("f/tokenizer.json", json.dumps(FOLDER_TOKENS))
        home.file("f/model.safetensors",
                  b"version https://git-lfs.github.com/spec/v1\noid sha256:4")
        home.run("model", "import", os.path.join(at, "f")).exits(1).says(
            "model.safetensors", "git lfs pull")
        assert home.models() == [] and home.blobs() == []


def case_a_network_that_would_be_another_one_is_refused():
    with folder() as at:
        home = Home(at)
        refused(home, "a.gguf", gguf(SMALL + [
            ("blk.0.attn_q_norm.weight", F32, (32,))]), "attn_q_norm", "E0720")
        refused(home, "b.gguf", gguf(SMALL + [
            ("blk.1.attn_q.weight", F32, (64, 64))]), "blk.1.attn_q.weight")
        few = [SMALL[0][:2] + ((64, 200),)] + SMALL[1:]
        refused(home, "c.gguf", gguf(few), "263 tokens", "200 rows")
        broken = bytearray(gguf(SMALL))
        broken[-4:] = struct.pack("<f", float("nan"))
        refused(home, "d.gguf", bytes(broken), "output_norm.weight", "E0746")
        scale = bytearray(gguf(SMALL[:1] + SMALL[2:3] + SMALL[1:2] +
                               SMALL[3:]))
        begins = len("blk.0.attn_q.weight")
        at_scale = scale.index(bytes((i * 7 + begins) % 56
                                     for i in range(256)))
        scale[at_scale:at_scale + 2] = struct.pack("<H", 0x7c00)
        refused(home, "e.gguf", bytes(scale),
                "blk.0.attn_q.weight, row 0", "E0746")
        assert home.models() == [] and home.blobs() == []


def case_folders_of_other_networks_are_refused():
    """Their tensors would fit; what they say of them does not."""
    encoder = {"model_type": "bert", "num_hidden_layers": 1, "hidden_size": 64,
               "max_position_embeddings": 64, "intermediate_size": 32,
               "vocab_size": 4, "num_attention_heads": 2, "hidden_act": "gelu"}
    qwen2 = dict(FOLDER_CONFIG, model_type="qwen2", num_hidden_layers=2,
                 use_sliding_window=True, sliding_window=8)
    kind = "sentence_transformers.models."
    mixed = ["full_attention", "sliding_attention"]
    with folder() as at:
        home = Home(at)

        def says(name, config, beside, *words):
            home.file(f"{name}/config.json", json.dumps(config))
            for file, value in beside.items():
                home.file(f"{name}/{file}", json.dumps(value))
            home.run("model", "import", os.path.join(at, name)).exits(1).says(
                "E0720", name, *words)

        says("decoder", dict(encoder, is_decoder=True), {}, "is_decoder")
        says("dense", encoder, {"modules.json": [
            {"type": kind + "Transformer"}, {"type": kind + "Pooling"},
            {"type": kind + "Dense"}]}, "Dense")
        says("two", encoder, {"1_Pooling/config.json": {
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": True}}, "pooling")
        says("max", encoder, {"1_Pooling/config.json": {
            "pooling_mode": "max"}}, "pooling")
        says("some", dict(qwen2, max_window_layers=1), {}, "1 of its 2 layers")
        says("types", dict(qwen2, layer_types=mixed), {}, "layer_types")


def case_a_window_is_kept_where_transformers_has_one():
    with folder() as at:
        home = Home(at)
        for name, more, window in (
                ("all", {"max_window_layers": 0}, 8),
                ("late", {"max_window_layers": 1}, None),
                ("off", {"use_sliding_window": False,
                         "max_window_layers": 0}, None),
                ("unsaid", {}, None),
                ("typed", {"layer_types": ["sliding_attention"]}, 8),
                ("mistral", {"model_type": "mistral"}, 8),
                ("llama", {"model_type": "llama"}, None)):
            config = dict(FOLDER_CONFIG, model_type="qwen2",
                          use_sliding_window=True, sliding_window=8)
            write_folder(home, name, dict(config, **more))
            home.run("model", "import", os.path.join(at, name)).exits(0)
            shown = home.run("model", "show", name, "--json").exits(0).data
            assert shown.get("window") == window, (name, shown)


def case_what_a_file_says_of_itself_is_shown_and_harmless():
    with folder() as at:
        home = Home(at)
        raw = gguf(SMALL, more=[
            pair("general.license", "MIT\x1b[31m\x1b]0;x\x07"),
            pair("general.source.url", "https://x\nname  another")])
        home.run("model", "import", home.file("esc.gguf", raw)).exits(0)
        raw = gguf(SMALL, more=[pair("general.license", "Lic??ence")])
        home.run("model", "import", home.file(
            "odd.gguf", raw.replace(b"Lic??ence", b"Lic\xff\xfeence"))).exits(0)
        home.run("model", "import", home.file("long.gguf", gguf(SMALL)),
                 "--licence", "x" + "\u00e9" * 400).exits(0)
        said = {m["name"]: m["licence"] for m in home.models()}
        assert said["odd"] == "Lic??ence", said
        assert said["long"] == "x" + "\u00e9" * 255, said
        assert said["esc"] == "MIT?[31m?]0;x?", said
        for words in (("ls",), ("show", "esc"), ("show", "odd")):
            out = home.run("model", *words).exits(0).out
            assert "\x1b" not in out and "\x07" not in out, out
        assert "\nname  another" not in home.run("model", "show", "esc").out
        again = os.path.join(at, "again.gguf")
        home.run("model", "export", "odd", again).exits(0)
        home.run("model", "quantize", "odd", "q4_0", "--name", "small").exits(0)
        for m in home.models():
            if m["name"] == "small":
                assert m["licence"] == "Lic??ence", m


def case_importing_again_says_anew_and_hides_nothing():
    with folder() as at:
        home = Home(at)
        path = home.file("m.gguf", gguf(SMALL))
        home.run("model", "import", path).exits(0).says("licence")
        home.run("model", "import", path, "--licence", "MIT", "--source",
                 "https://m.example").exits(0)
        home.run("model", "import", path).exits(0)
        m, = home.models()
        assert (m["licence"], m["source"]) == ("MIT", "https://m.example"), m
        home.run("model", "import", path, "--type", "q4_0").exits(1).says(
            "--type", "--name")
        assert home.models() == [m] and home.blobs() == [m["hash"]]
        # A damaged file is noticed, and made whole again.
        blob = home.run("model", "show", "m", "--json").data["path"]
        with open(blob, "r+b") as f:
            f.seek(-100, os.SEEK_END)
            f.write(b"\x55")
        home.run("doctor").exits(1).prints("BAD  models", "model m", "again")
        for words in (["export", "m", os.path.join(at, "out")],
                      ["export", "--folder", "m", os.path.join(at, "out")],
                      ["quantize", "m", "q4_0"]):
            home.run("model", *words).exits(1).says("its file was changed",
                                                    "import it again")
            assert not os.path.exists(os.path.join(at, "out"))
        home.run("model", "import", path).exits(0)
        home.run("doctor").exits(0).prints("ok   models")
        assert home.models() == [m]
        # The weights alone are not the model.
        write_folder(home, "f", FOLDER_CONFIG)
        home.run("model", "import", os.path.join(at, "f")).exits(0)
        home.run("model", "import", os.path.join(at, "f")).exits(0)
        write_folder(home, "f", dict(FOLDER_CONFIG, rope_theta=500000))
        home.run("model", "import", os.path.join(at, "f")).exits(1).says(
            "other files beside")


def case_of_two_at_once_one_has_the_name():
    with folder() as at:
        home = Home(at)
        path = home.file("m.gguf", gguf(SMALL))
        other = [(t[0], F16 if t[0].endswith("attn_q.weight") else t[1], t[2])
                 for t in SMALL]
        another = home.file("other.gguf", gguf(other))
        done = [finish(p) for p in [
            begin("tacit", "model", "import", p, "--name", "m", "--home",
                  home.home) for p in (path, path, another, path)]]
        for d in done:
            if d.status:
                d.exits(1).says("named m", "--name")
        assert any(d.status == 0 for d in done), done
        m, = home.models()
        assert home.blobs() == [m["hash"]], home.blobs()


def case_what_is_removed_leaves_another_name_its_weights():
    with folder() as at:
        home = Home(at)
        path = home.file("m.gguf", gguf(SMALL))
        home.run("model", "import", path, "--name", "a").exits(0)
        for gone, new in ("ab", "ba") * 4:
            for p in [begin("tacit", "model", *words, "--home", home.home)
                      for words in (("rm", gone),
                                    ("import", path, "--name", new))]:
                finish(p).exits(0)
            m, = home.models()
            assert m["name"] == new, m
            assert home.blobs() == [m["hash"]], home.blobs()


def case_where_it_is_from_goes_along():
    """Through quantising, and both ways out."""
    with folder() as at:
        home = Home(at)
        write_folder(home, "m", FOLDER_CONFIG)
        said = 'Some "own" licence, 2', "https://m.example/x y"
        home.run("model", "import", os.path.join(at, "m"), "--licence",
                 said[0], "--source", said[1]).exits(0)
        home.run("model", "quantize", "m", "q8_0", "--name", "q").exits(0)
        for name in ("m", "q"):
            out = os.path.join(at, name + "-out")
            home.run("model", "export", name, out + ".gguf").exits(0)
            home.run("model", "export", name, out, "--folder").exits(0)
            for path in (out + ".gguf", out):
                home.run("model", "import", path, "--name", "back").exits(0)
                m = home.run("model", "show", "back", "--json").data
                assert (m["licence"], m["source"]) == said, m
                home.run("model", "rm", "back").exits(0)
        home.run("model", "import", "./m-out.gguf", "--name", "b", "--source",
                 "", cwd=at).exits(0)
        where = home.run("model", "show", "b", "--json").data["source"]
        assert where == os.path.join(at, "m-out.gguf"), where


def case_a_name_is_one_that_commands_can_take():
    with folder() as at:
        home = Home(at)
        path = home.file("m.gguf", gguf(SMALL))
        for name in ("none", "built-in", "built-in-reader", "-x", ".x", "X",
                     "a" * 65, "a/b", "\u00e9"):
            home.run("model", "import", path, f"--name={name}").exits(4)
            home.run("model", "import",
                     home.file("none.gguf", gguf(SMALL))).exits(4).says("none")
        home.run("model", "import", home.file(
            "\u00e9.gguf", gguf(SMALL))).exits(4).says("--name")
        home.run("model", "import", home.file(
            "-a b.gguf", gguf(SMALL))).exits(0)
        assert [m["name"] for m in home.models()] == ["a-b"]


def large(home):
    """A file that takes a while: 64 MiB of F32, to Q4_0."""
    many = [(f"blk.{i}.ffn_up.weight", F32, (2048, 512)) for i in range(1, 17)]
    return home.file("large.gguf", gguf(SMALL + many))


def parts(home):
    return glob.glob(os.path.join(home.home, "blobs", ".tacit-part-*"))


def start_import(home, path):
    p = begin("tacit", "model", "import", path, "--type", "q4_0", "--home",
              home.home)
    until(lambda: p.poll() is not None or
          any(os.path.getsize(x) for x in parts(home)), 30, "it to begin")
    return p


def case_ctrl_c_leaves_nothing():
    with folder() as at:
        home = Home(at)
        p = start_import(home, large(home))
        done = finish(p, signal.SIGINT)
        if done.status == 0:
            raise cases.Skip("it was done before it could be interrupted")
        done.exits(130)
        assert home.models() == [] and home.blobs() == [], home.blobs()


def case_what_a_killed_export_left_goes_with_the_next():
    with folder() as at:
        home = Home(at)
        home.run("model", "import", home.file("m.gguf", gguf(SMALL))).exits(0)
        to = os.path.join(at, "out")
        os.makedirs(to)
        for name in ("abcdef", "ghijkl", "list-of-mine"):
            write(os.path.join(to, ".tacit-part-" + name), b"")
        with open(os.path.join(to, ".tacit-part-ghijkl"), "rb") as f:
            fcntl.flock(f, fcntl.LOCK_EX)  # as one that is at work
            home.run("model", "export", "m",
                     os.path.join(to, "m.gguf")).exits(0)
        assert sorted(os.listdir(to)) == [
            ".tacit-part-ghijkl", ".tacit-part-list-of-mine", "m.gguf"
        ], os.listdir(to)


def case_what_a_killed_export_of_a_folder_left_goes_with_the_next():
    with folder() as at:
        home = Home(at)
        home.run("model", "import", home.file("m.gguf", gguf(SMALL))).exits(0)
        to = os.path.join(at, "out")
        for name in ("abcdef", "ghijkl"):
            os.makedirs(os.path.join(to, ".tacit-part-" + name, "1_Pooling"))
            write(os.path.join(to, ".tacit-part-" + name, "config.json"), b"")
        held = os.open(os.path.join(to, ".tacit-part-ghijkl"), os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)  # as one that is at work
        home.run("model", "export", "m", os.path.join(to, "m"),
                 "--folder").exits(0)
        os.close(held)
        assert sorted(os.listdir(to)) == [".tacit-part-ghijkl", "m"], \
            os.listdir(to)
        assert os.stat(os.path.join(to, "m")).st_mode & 0o777 == 0o755


def case_what_is_built_in_is_shown():
    with folder() as at:
        home = Home(at)
        m = home.run("model", "show", "built-in", "--json").exits(0).data
        assert (m["family"], m["use"], m["width"]) == ("words", "search", 256)
        with open(os.path.join(os.path.dirname(__file__), "..", "..", "models",
                               "encoder.gguf"), "rb") as f:
            file = f.read()
        assert m["bytes"] == len(file) and m["parameters"] == 49152 * 256
        assert m["hash"] == hashlib.blake2b(file, digest_size=32).hexdigest()
        m = home.run("model", "show", "built-in-reader", "--json").exits(0).data
        assert (m["use"], m["parameters"]) == ("reads", 28050), m
        home.run("model", "show", "built-in").exits(0).prints(
            "Apache-2.0", "part of this program")
        home.run("model", "rm", "built-in").exits(1)


def case_what_a_killed_import_left_goes_with_the_next():
    with folder() as at:
        home = Home(at)
        finish(start_import(home, large(home)), signal.SIGKILL)
        assert home.models() == []
        home.run("model", "import", home.file("m.gguf", gguf(SMALL))).exits(0)
        assert len(home.blobs()) == 1 and not parts(home), home.blobs()


def full_disk(at):
    small = os.path.join(at, "disk")
    os.makedirs(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", small],
                      check=False).returncode != 0:
        print("no tmpfs may be mounted here")
        sys.exit(77)
    home = Home(small)
    home.at = at
    done = home.run("model", "import", large(home))
    done.exits(1).says("E0102")
    assert home.models() == [] and home.blobs() == [], home.blobs()
    # Nor does it keep what would make room.
    more = [pair("general.description", "x" * (1 << 20))]
    home.run("model", "import", home.file(
        "m.gguf", gguf(SMALL, more=more))).exits(0)
    fill = os.path.join(small, "fill")
    with open(fill, "wb", buffering=0) as f:
        try:
            while f.write(bytes(4096)):
                pass
        except OSError:
            pass
    home.run("add", home.file("a.txt", b"words")).exits(1).says("E0102")
    home.run("model", "rm", "m").exits(0)
    assert home.models() == [] and home.blobs() == [], home.blobs()


def case_a_full_disk_leaves_nothing():
    cases.in_namespace(__file__, "full_disk")


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--inside":
        globals()[sys.argv[2]](sys.argv[3])
    else:
        cases.run(globals())
