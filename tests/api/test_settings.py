"""What an operator decides."""

from __future__ import annotations

import pytest

from torchloom.errors import InvalidWorkflow
from torchloom_api.settings import Address, InvalidSettings, Settings
from torchloom_workflows.loader import load_document


def test_lays_arguments_over_environment_over_file() -> None:
    """Each later source wins; what none of them gives has its default."""
    document = load_document("grace_s: 1\nhistory_size: 2\nmax_requests: 3")
    environment = {"TORCHLOOM_GRACE_S": "10", "TORCHLOOM_HISTORY_SIZE": "20", "PATH": "/bin"}
    settings = Settings.load(
        document=document, environment=environment, arguments={"grace_s": 100.0, "store": None}
    )

    assert (settings.grace_s, settings.history_size, settings.max_requests) == (100.0, 20, 3)
    assert settings.store == ".torchloom"


def test_reads_lists_and_switches_from_the_environment() -> None:
    """Lists are written with commas, switches as true and false."""
    environment = {"TORCHLOOM_FUNCTIONS": "a.b, c", "TORCHLOOM_ALLOW_OPEN": "true"}
    settings = Settings.load(environment=environment)

    assert settings.functions == ("a.b", "c")
    assert settings.allow_open


def test_names_the_nearest_setting_and_its_line() -> None:
    """An unknown name in a file is refused where it stands."""
    with pytest.raises(InvalidSettings, match=r"'grace'.*Did you mean 'grace_s'") as caught:
        Settings.load(document=load_document("store: x\ngrace: 3", "server.yaml"))

    assert (caught.value.faults[0].file, caught.value.faults[0].line) == ("server.yaml", 2)


def test_refuses_a_file_that_is_no_mapping() -> None:
    """A settings file maps names to values."""
    with pytest.raises(InvalidSettings, match="must be a mapping"):
        Settings.load(document=load_document("- store"))


def test_passes_on_what_the_loader_says() -> None:
    """A malformed file never becomes settings."""
    with pytest.raises(InvalidWorkflow):
        Settings.load(document=load_document("{"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_body_bytes": 0},
        {"max_body_bytes": "many"},
        {"keepalive_s": -1},
        {"history_size": 0},
        {"inference": "8080"},
        {"inference": "127.0.0.1:99999"},
        {"inference": "127.0.0.1:²"},
        {"metrics": "x"},
    ],
)
def test_refuses_values_that_cannot_work(arguments: dict[str, object]) -> None:
    """Every setting is checked before anything starts."""
    with pytest.raises(InvalidSettings):
        Settings.load(arguments=arguments)


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "my.host:8080"])
def test_does_not_listen_to_other_machines_by_accident(address: str) -> None:
    """An open address is refused on any listener, unless the operator says so by name."""
    for name in ("inference", "management", "metrics", "grpc"):
        with pytest.raises(InvalidSettings, match="set allow_open"):
            Settings.load(arguments={name: address})
        Settings.load(arguments={name: address, "allow_open": True})


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", ":1"])
def test_listens_on_the_loopback(address: str) -> None:
    """Addresses of this machine alone need no permission."""
    Settings.load(arguments={"inference": address})


def test_merges_listeners_of_the_same_address() -> None:
    """Scopes share a listener where they share an address."""
    settings = Settings.load(arguments={"inference": ":8080", "metrics": ":8082"})

    assert settings.listeners == {
        Address("127.0.0.1", 8080): frozenset({"inference", "management"}),
        Address("127.0.0.1", 8082): frozenset({"metrics"}),
    }


def test_writes_addresses_as_it_reads_them() -> None:
    """IPv6 addresses keep their brackets."""
    assert str(Address.parse("[::1]:80")) == "[::1]:80"
    assert str(Address.parse("127.0.0.1:80")) == "127.0.0.1:80"


def test_reads_budgets_of_memory() -> None:
    """By device, in a file or in the environment; what is no amount is refused by name."""
    settings = Settings.load(environment={"TORCHLOOM_MEMORY": "cpu=12GiB, cuda:0=5"})
    assert settings.memory == {"cpu": "12GiB", "cuda:0": "5"}
    assert Settings.load(arguments={"memory": {"cpu": 7}, "evict": True}).evict
    for wrong in ({"cpu": "many"}, {"gpu": 1}):
        with pytest.raises(InvalidSettings, match="The setting 'memory' is not valid"):
            Settings.load(arguments={"memory": wrong})


def test_listens_to_other_machines_with_keys() -> None:
    """Keys in a file or in the environment are a permission; an empty variable is none."""
    address = {"inference": "0.0.0.0:8080"}
    Settings.load(arguments={**address, "api_keys": "keys.yaml"})
    Settings.load(arguments=address, environment={"TORCHLOOM_API_KEYS": "keys.yaml"})
    Settings.load(arguments=address, environment={"TORCHLOOM_API_KEY": "key"})

    with pytest.raises(InvalidSettings, match="api_keys"):
        Settings.load(arguments=address, environment={"TORCHLOOM_API_KEY": ""})


def test_holds_no_key() -> None:
    """The key in the environment is no setting: it cannot be shown with them."""
    settings = Settings.load(environment={"TORCHLOOM_API_KEY": "secret-key"})

    assert "secret-key" not in repr(settings)
