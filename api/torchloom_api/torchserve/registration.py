"""Registration: an archive becomes a model of the one registry, or leaves nothing behind.

Knows the order of TorchServe's checks and its words; how a model is loaded is the registrar's.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from torchloom.errors import (
    Conflict,
    InvalidModel,
    ModelLoadError,
    NotServing,
    TorchLoomError,
)
from torchloom_api.registrar import Registrar
from torchloom_api.torchserve.archive_url import ArchiveFinder, Found
from torchloom_api.torchserve.catalog import HANDLER, Catalog, Served
from torchloom_api.torchserve.frontend_error import (
    FrontendError,
    bad_request,
    workers_not_started,
)
from torchloom_api.torchserve.frontend_settings import FrontendSettings
from torchloom_api.torchserve.limits import Limits, Wish, decide_limits, fill
from torchloom_api.torchserve.model_document import (
    MAX_TIMEOUT_S,
    to_language_document,
    to_policies,
    to_wait_s,
)
from torchloom_api.torchserve.parallel import to_parallel
from torchloom_api.torchserve.parameters import Parameters
from torchloom_api.torchserve.worker_place import (
    NotEnoughGpus,
    choose_devices,
    choose_gpus,
    fit,
    settle_place,
)
from torchloom_models.archive.files import ArchiveFiles
from torchloom_models.archive.llm.language_model import find_language_model
from torchloom_models.archive.preparation import store_of
from torchloom_models.archive.sequence_headers import SequenceHeaders
from torchloom_models.archive.unpacked import Unpacked


_log = logging.getLogger(__name__)

#: The runtime of handlers in C++.
_NATIVE: Final = "LSP"

_RUNTIMES: Final = frozenset({"python", "python3", _NATIVE})

_NO_NATIVE: Final = (
    "Model {name} is for the C++ backend (runtime LSP), which there is not here. Serve what its "
    "handler does by one in Python, or by a model file of the kind module."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a registration asks for. What is None is the archive's to say.

    `found`: where the archive lies, if that is known. `workflow`, `is_function`: see `Served`.
    `is_alone`: it has one worker, without hurry, whatever it says: somebody sits at its terminal,
    and a call that is cancelled gives it up.
    """

    url: str
    name: str | None = None
    version: str | None = None
    handler: str | None = None
    runtime: str | None = None
    wish: Wish = field(default_factory=Wish)
    is_synchronous: bool = True
    is_at_startup: bool = False
    found: Found | None = None
    workflow: str | None = None
    is_function: bool = False
    is_alone: bool = False

    @classmethod
    def of(cls, parameters: Parameters) -> Order:
        """Read it. Raises FrontendError for what cannot be."""
        url = parameters.text("url")
        if url is None:
            raise bad_request("Parameter url is required.")
        runtime = parameters.text("runtime")
        if runtime is not None and runtime not in _RUNTIMES:
            raise bad_request(f"Invalid RuntimeType value: {runtime}")
        return cls(
            url=url,
            name=parameters.text("model_name") or None,
            handler=parameters.text("handler") or None,
            runtime=runtime,
            wish=Wish(
                initial_workers=parameters.number("initial_workers"),
                batch_size=parameters.number("batch_size"),
                max_batch_delay_ms=parameters.number("max_batch_delay"),
                response_timeout_s=_positive(parameters.number("response_timeout")),
                startup_timeout_s=_positive(parameters.number("startup_timeout")),
            ),
            is_synchronous=parameters.flag("synchronous", default=True),
        )


def _positive(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None


class Registration:
    """Registers archives. One that nobody waits for is undone all the same where it fails.

    `gpus`: the numbers of the GPUs that workers may use. `archives`: where they are unpacked.
    """

    def __init__(
        self,
        settings: FrontendSettings,
        catalog: Catalog,
        registrar: Registrar,
        *,
        finder: ArchiveFinder | None = None,
        gpus: Sequence[int] = (),
        archives: Path | None = None,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._registrar = registrar
        self._finder = finder or ArchiveFinder(settings.model_store, settings)
        self._gpus = gpus
        self._archives = archives
        self._loading: set[asyncio.Task[None]] = set()
        #: Archives with what was installed for them, for as long as their models are registered:
        #: one may have no worker that would hold it.
        self._held: dict[Served, Unpacked] = {}
        self._letting_go: set[asyncio.Future[None]] = set()
        catalog.on_drop = self._let_go
        #: What `metrics_config` declares of handlers' metrics, for model files.
        self.metrics: Sequence[Mapping[str, object]] = ()

    async def register(self, order: Order) -> Served:
        """Register. Returns when its workers are there, or are being started, as it is asked.

        Raises FrontendError, with nothing left behind.
        """
        found = order.found or await self._finder.find(order.url)
        try:
            served, document = await self._read(order, found)
            self._put(served)
        except BaseException:
            _forget_file(found)
            raise
        loading = asyncio.get_running_loop().create_task(self._load(served, document, found.path))
        self._loading.add(loading)
        loading.add_done_callback(self._end)
        if order.is_synchronous or not served.limits.min_workers:
            await (loading if order.is_alone else asyncio.shield(loading))
        return served

    def _put(self, served: Served) -> None:
        try:
            self._catalog.put(served)
        except FrontendError as error:
            error.model = served.name, served.version
            raise
        self._catalog.worker_ids(served, served.limits.min_workers)

    async def close(self) -> None:
        """Give up what is still being loaded."""
        for task in self._loading:
            task.cancel()
        await asyncio.gather(*self._loading, return_exceptions=True)
        for served in list(self._held):
            self._let_go(served)
        await asyncio.gather(*self._letting_go)

    def _end(self, loading: asyncio.Task[None]) -> None:
        self._loading.discard(loading)
        if not loading.cancelled():
            loading.exception()  # who waits for it is told; else the log has it

    async def _read(self, order: Order, found: Found) -> tuple[Served, dict[str, object]]:
        settings = self._settings
        handler = order.handler or settings.default_service_handler
        try:
            glance = await asyncio.to_thread(ArchiveFiles.glance, found.path, handler=handler)
            language = await asyncio.to_thread(
                find_language_model, glance, found.path, order.handler
            )
        except (InvalidModel, ModelLoadError) as error:
            raise FrontendError(400, "InvalidModelException", error.message) from error
        manifest = glance.manifest
        name = order.name or manifest.name
        version = manifest.version
        runtime = order.runtime or manifest.runtime
        if runtime == _NATIVE:
            raise FrontendError(400, "InvalidModelException", _NO_NATIVE.format(name=name))
        said = settings.models.get(name, {}).get(version)
        is_free = order.is_at_startup and order.wish.initial_workers is None
        wish = fill(order.wish, said, workers=self.startup_workers() if is_free else None)
        order = replace(order, wish=wish)
        limits = decide_limits(order.wish, glance.config, settings)
        if order.is_alone:
            limits = limits.alone(MAX_TIMEOUT_S)
        language = None if order.is_function else language
        gpus: Sequence[int] = self._gpus
        if language is None:
            limits, gpus = self._place(name, limits)
        number = self._catalog.free_number(name, version)
        served = Served(
            name=name,
            version=version,
            number=number,
            url=order.url,
            limits=limits,
            runtime=runtime,
            language=language,
            is_at_startup=order.is_at_startup,
            is_loading=True,
            fetched=found.path if found.is_fetched else None,
            workflow=order.workflow,
            is_function=order.is_function,
        )
        if language is None:
            document = self._to_handler_document(order, glance, served, found.path, gpus=gpus)
            return served, document
        if order.workflow is not None:
            message = (
                f"The archive {order.url!r} is a language model, which answers OpenAI's requests: "
                "no node of a workflow archive can ask it. Write a workflow file, with a node "
                "`model:`, and register the archive by itself."
            )
            raise FrontendError(400, "InvalidModelException", message)
        return served, to_language_document(served, gpus=gpus, is_scaled=settings.autoscale)

    def _to_handler_document(
        self,
        order: Order,
        glance: ArchiveFiles,
        served: Served,
        path: Path,
        *,
        gpus: Sequence[int],
    ) -> dict[str, object]:
        settings = self._settings
        document: dict[str, object] = {
            "name": served.name,
            "version": served.number,
            "kind": HANDLER,
            "source": str(path),
            "model_version": served.version,
            "limit_image_pixels": settings.limit_max_image_pixels,
            "prediction_time": True,
            **to_policies(
                served.limits,
                choose_devices(served.limits, gpus),
                is_scaled=settings.autoscale,
            ),
        }
        parallel = to_parallel(glance.config, gpus)
        if parallel is not None:
            document["parallel"] = parallel
        # What the archive says is its engine's to read, who may make more of it than one number.
        if order.wish.batch_size is not None and not glance.config.get("asyncCommunication"):
            document["batching"] = {
                "max_size": served.limits.batch_size,
                "max_wait_s": to_wait_s(served.limits),
            }
        # The server's default one is told too: the engine does not know it.
        document["handler"] = order.handler or glance.manifest.handler
        if self.metrics:
            document["metrics"] = self.metrics
        if settings.sequence_headers != SequenceHeaders():
            document["sequence_headers"] = asdict(settings.sequence_headers)
        envelope = glance.manifest.envelope or settings.service_envelope
        if envelope and not order.is_function:
            document["envelope"] = envelope
        return document

    def _place(self, name: str, limits: Limits) -> tuple[Limits, list[int]]:
        """Give the GPUs that a model may use, and its limits as they fit these."""
        limits = settle_place(limits, self._gpus)
        try:
            gpus = choose_gpus(limits, self._gpus)
        except NotEnoughGpus:
            message = (
                f"No enough gpu devices for model:{name} parallelLevel:{limits.parallel_level}"
            )
            raise FrontendError(500, "WorkerInitializationException", message) from None
        return fit(limits, gpus), gpus

    def startup_workers(self) -> int:
        """Give how many workers a model has that is there from the start and does not say."""
        return self._settings.default_workers_per_model or len(self._gpus) or os.cpu_count() or 1

    async def _load(self, served: Served, document: Mapping[str, object], path: Path) -> None:
        """Load it, as many workers as it is to have; whatever fails, nothing of it is left."""
        try:
            if served.language is not None:
                document = await self._open_language_model(served, document, path)
            elif self._settings.install_py_dep_per_model:
                self._held[served] = await asyncio.to_thread(self._prepare, document, path)
            await self._registrar.add_model(msgspec.json.encode(document), file=path)
        except BaseException as error:
            served.is_loading = False
            self.forget(served)
            if not isinstance(error, FrontendError | TorchLoomError | OSError):
                raise
            _log.error("%s %s is not registered: %s", served.name, served.version, error)
            said = error if isinstance(error, FrontendError) else _say(served, error)
            said.model = served.name, served.version
            if said is error:
                raise
            raise said from error
        self._catalog.settle(served)
        if served.workflow is None:
            self._catalog.on_change()

    async def _open_language_model(
        self, served: Served, document: Mapping[str, object], path: Path
    ) -> Mapping[str, object]:
        """Unpack the archive of a language model, and give its document with what lies where.

        Raises InvalidModel and ModelLoadError.
        """
        language = served.language
        assert language is not None, "only such are opened"
        held = await asyncio.to_thread(store_of({"archives": self._archives}, path).open, path)
        self._held[served] = held
        fields = await asyncio.to_thread(language.to_fields, held.path.resolve())
        _log.info(
            "%s %s is served by TorchLoom's own engine, from %s",
            served.name,
            served.version,
            fields["source"],
        )
        for note in language.notes:
            _log.warning("%s %s: %s", served.name, served.version, note)
        return {**document, **fields}

    async def remove(self, served: Served, *, grace_s: float) -> None:
        """Let a model finish what it has, then remove it, and its file if that was fetched.

        Raises Conflict where it is needed, and UnknownModel.
        """
        await self._registrar.remove_model(served.name, served.number, grace_s=grace_s)
        self.forget(served)
        await asyncio.gather(*self._letting_go)

    def forget(self, served: Served) -> None:
        """Drop a model that is gone, and its file if that was fetched."""
        self._catalog.drop(served)
        if served.fetched is not None:
            served.fetched.unlink(missing_ok=True)

    def _let_go(self, served: Served) -> None:
        """Hold an archive no more; in a thread, for the last one to let go removes its files."""
        held = self._held.pop(served, None)
        if held is not None:
            letting_go = asyncio.get_running_loop().run_in_executor(None, held.close)
            self._letting_go.add(letting_go)
            letting_go.add_done_callback(self._letting_go.discard)

    def _prepare(self, document: Mapping[str, object], path: Path) -> Unpacked:
        """Install what an archive asks for, before it has workers. Raises FrontendError."""
        config = {**document, "archives": self._archives, "install_requirements": True}
        try:
            return store_of(config, path).open(path)
        except ModelLoadError as error:
            raise FrontendError(400, "ModelException", error.message) from error


def _say(served: Served, error: TorchLoomError | OSError) -> FrontendError:
    """Say why an archive does not serve."""
    if isinstance(error, InvalidModel):
        return FrontendError(400, "InvalidModelException", error.message)
    if isinstance(error, Conflict):
        return FrontendError(409, "ConflictStatusException", error.message)
    if isinstance(error, NotServing):
        return FrontendError(503, "ServiceUnavailableException", error.message)
    return workers_not_started(served.name, served.version, error)


def _forget_file(found: Found) -> None:
    if found.is_fetched:
        found.path.unlink(missing_ok=True)
