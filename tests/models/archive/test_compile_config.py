"""The section `pt2`."""

from __future__ import annotations

import pytest

from torchloom_models.archive.compile_config import CompileConfig


@pytest.mark.parametrize(
    ("section", "arguments", "is_exported"),
    [
        (None, None, False),
        ("inductor", {"backend": "inductor"}, False),
        ({"backend": "eager", "mode": "default"}, {"backend": "eager", "mode": "default"}, False),
        ({"compile": {"enable": True}}, {}, False),
        ({"compile": {"enable": False, "backend": "eager"}}, None, False),
        ({"compile": {"backend": "eager"}}, None, False),
        (
            {"compile": {"enable": True, "backend": "inductor", "mode": "max-autotune"}},
            {"backend": "inductor", "mode": "max-autotune"},
            False,
        ),
        ({"export": {"aot_compile": True}}, None, True),
        ({"export": {"aot_compile": False}, "compile": {"enable": True}}, {}, False),
    ],
)
def test_reads_every_form(section: object, arguments: object, is_exported: object) -> None:
    """A name, arguments, or what is to be done."""
    config = CompileConfig.read(section)

    assert (config.arguments, config.is_exported) == (arguments, is_exported)


@pytest.mark.parametrize(
    "section", ["indcutor", {"backend": "x"}, {"compile": {"enable": True, "backend": "x"}}, 3]
)
def test_refuses_what_is_no_backend(section: object) -> None:
    """A name that is not there keeps the model from serving: it is not left out quietly."""
    with pytest.raises(ValueError, match="backend"):
        CompileConfig.read(section)


@pytest.mark.parametrize(
    ("section", "arguments"),
    [
        ({"ao": {"enable": True, "autoquant": {"enable": True}}}, None),
        (
            {"ao": {"enable": True}, "compile": {"enable": True, "backend": "eager"}},
            {"backend": "eager"},
        ),
    ],
)
def test_says_that_torchao_is_not_asked(
    section: object, arguments: object, caplog: pytest.LogCaptureFixture
) -> None:
    """What TorchServe's examples beyond 0.12 say is no argument of torch.compile."""
    config = CompileConfig.read(section)

    assert config.arguments == arguments
    assert "`pt2.ao` means nothing" in caplog.text


def test_refuses_a_compile_that_is_no_mapping() -> None:
    """The message shows the form."""
    with pytest.raises(ValueError, match="enable: true"):
        CompileConfig.read({"compile": True})
