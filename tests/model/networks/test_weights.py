"""Tests of loading pretrained weights, with random networks of the real shapes, from files and from a server."""

import hashlib
import os
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchmetrics
import torchvision
from torch import Tensor

from model.metrics.features.alexnet import SMALLEST_SIDE
from model.metrics.features.inception import DIMENSIONS, InceptionV3
from model.metrics.lpips import LPIPS
from model.networks.weights import load_weights
from model.utils.errors import UserError

KEY = "evaluate.inception_weights"


class Server:
    """Serves a folder on loopback and records the requested paths."""

    def __init__(self, folder: Path) -> None:
        asked: list[str] = []

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                asked.append(self.path)

        self.asked = asked
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=partial(self._server.serve_forever, poll_interval=0.01), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Server, Path, str]]:
    """Yields a server, a file of weights that it serves, and the file's SHA-256."""
    folder = tmp_path / "served"
    folder.mkdir()
    path = folder / "weights.pth"
    torch.save({"a.weight": torch.arange(6.0), "a.bias": torch.ones(2)}, path)
    server = Server(folder)
    yield server, path, hashlib.sha256(path.read_bytes()).hexdigest()
    server.close()


def refused(source: str, cache: Path) -> str:
    with pytest.raises(UserError) as error:
        load_weights(source, KEY, cache)
    message = str(error.value)
    assert message.startswith(f"{KEY}: ")
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_a_path_is_read_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.arange(3)}, path)
    weights = load_weights(str(path), KEY, tmp_path / "cache")
    assert weights.state["a"].tolist() == [0, 1, 2]
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not (tmp_path / "cache").exists()


def test_a_url_is_downloaded_once(tmp_path: Path, served: tuple[Server, Path, str]) -> None:
    server, _, sha256 = served
    source = f"{server.url}/weights.pth#sha256={sha256.upper()}"
    first = load_weights(source, KEY, tmp_path / "cache")
    again = load_weights(source, KEY, tmp_path / "cache")
    assert first.sha256 == again.sha256 == sha256
    assert torch.equal(first.state["a.weight"], torch.arange(6.0))
    assert server.asked == ["/weights.pth"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"{sha256}.pth"]


def test_a_damaged_cached_file_is_downloaded_again(tmp_path: Path, served: tuple[Server, Path, str]) -> None:
    server, _, sha256 = served
    cached = tmp_path / "cache" / f"{sha256}.pth"
    cached.parent.mkdir()
    cached.write_bytes(b"half a file")
    load_weights(f"{server.url}/weights.pth#sha256={sha256}", KEY, cached.parent)
    assert hashlib.sha256(cached.read_bytes()).hexdigest() == sha256


def test_a_wrong_checksum_leaves_nothing_behind(tmp_path: Path, served: tuple[Server, Path, str]) -> None:
    server, _, sha256 = served
    message = refused(f"{server.url}/weights.pth#sha256={'0' * 64}", tmp_path / "cache")
    assert sha256 in message
    assert "0" * 64 in message
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_interrupted_download_leaves_nothing_behind(
    tmp_path: Path, served: tuple[Server, Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, path, sha256 = served
    monkeypatch.setattr(SimpleHTTPRequestHandler, "copyfile", lambda _, source, out: out.write(source.read(100)))
    assert "cannot be downloaded" in refused(f"{server.url}/{path.name}#sha256={sha256}", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("end", ["", "#sha256=", "#sha256=abc", f"#sha256={'g' * 64}", f"#md5={'0' * 32}"])
def test_a_url_without_a_checksum_is_refused_before_any_request(
    tmp_path: Path, served: tuple[Server, Path, str], end: str
) -> None:
    server, _, _ = served
    assert "checksum" in refused(f"{server.url}/weights.pth{end}", tmp_path)
    assert server.asked == []


def test_a_missing_url_and_an_unreachable_server_are_named_and_leave_no_file(
    tmp_path: Path, served: tuple[Server, Path, str]
) -> None:
    server, _, sha256 = served
    assert "404" in refused(f"{server.url}/other.pth#sha256={sha256}", tmp_path / "cache")
    server.close()
    assert "refused" in refused(f"{server.url}/weights.pth#sha256={sha256}", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_messages_hold_no_secrets_of_the_url(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    message = refused(f"http://me:word@127.0.0.1:9/w.pth?signature=hush#sha256={'0' * 64}", tmp_path)
    message += "".join(capfd.readouterr())
    assert "http://127.0.0.1:9/w.pth" in message
    assert "word" not in message
    assert "hush" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none.pth") in refused(str(tmp_path / "none.pth"), tmp_path)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_loading_weights_executes_no_pickled_code(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": Payload(tmp_path / "executed")}, path)
    refused(str(path), tmp_path)
    path.write_bytes(pickle.dumps(Payload(tmp_path / "executed"), protocol=2))
    refused(str(path), tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"PK\x03\x04 and then nothing"])
def test_a_file_of_another_format_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    assert "w.pth" in refused(str(tmp_path / "w.pth"), tmp_path)


def test_a_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(3)], tmp_path / "w.pth")
    assert "state dict" in refused(str(tmp_path / "w.pth"), tmp_path)


def saved(path: Path, network: torch.nn.Module) -> str:
    torch.save(network.state_dict(), path)
    return str(path)


def random_rgb(count: int, side: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_inception_accepts_only_torch_fidelitys_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = partial(torchvision.models.inception_v3, weights=None, init_weights=False)  # the same names of tensors
    source = saved(tmp_path / "i.pth", plain(num_classes=1008, aux_logits=False))
    network = InceptionV3(load_weights(source, KEY, tmp_path), KEY)
    rgb = random_rgb(2, 40)
    features = network(rgb)
    assert features.shape == (2, DIMENSIONS)
    assert not torch.equal(features[0], features[1])
    torch.testing.assert_close(features[1:], network(rgb[1:]))
    other = saved(tmp_path / "o.pth", plain(num_classes=1000))  # torchvision's own: another network, other scores
    with pytest.raises(UserError, match=r"inception_weights.*weights-inception-2015-12-05"):
        InceptionV3(load_weights(other, KEY, tmp_path), KEY)


def test_lpips_equals_the_papers_formula_over_the_given_alexnet(tmp_path: Path) -> None:
    torch.manual_seed(0)
    alexnet = torchvision.models.alexnet(weights=None).eval()
    key = "evaluate.lpips_weights"
    lpips = LPIPS(load_weights(saved(tmp_path / "a.pth", alexnet), key, tmp_path), key)
    first, second = random_rgb(3, 40), random_rgb(3, 40).flip(-1)

    heads = torch.load(
        Path(torchmetrics.__file__).parent / "functional/image/lpips_models/alex.pth", "cpu", weights_only=True
    )
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x = torch.cat((first, second)).float() / 127.5 - 1
    x = (x - shift.view(3, 1, 1)) / scale.view(3, 1, 1)
    expected, layer = torch.zeros(3), 0
    with torch.inference_mode():
        for module in alexnet.features:
            x = module(x)
            if isinstance(module, torch.nn.ReLU):
                unit = x / (x.square().sum(1, keepdim=True) + 1e-8).sqrt()
                difference = (unit[:3] - unit[3:]).square()
                expected += (difference * heads[f"lin{layer}.model.1.weight"]).sum(1).mean(dim=(1, 2))
                layer += 1
                if layer == 5:  # the pooling after it is the classifier's
                    break
    assert layer == 5
    torch.testing.assert_close(lpips(first, second), expected, atol=1e-6, rtol=1e-4)
    assert expected.min() > 0
    assert lpips(first, first).tolist() == [0, 0, 0]
    assert lpips(random_rgb(1, SMALLEST_SIDE), random_rgb(1, SMALLEST_SIDE)).tolist() == [0]


def test_lpips_refuses_another_networks_weights(tmp_path: Path) -> None:
    source = saved(tmp_path / "s.pth", torchvision.models.squeezenet1_1(weights=None))
    with pytest.raises(UserError, match=r"lpips_weights.*alexnet-owt"):
        LPIPS(load_weights(source, "evaluate.lpips_weights", tmp_path), "evaluate.lpips_weights")
