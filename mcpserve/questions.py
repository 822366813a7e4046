"""What a tool asks while it is called: the person, or the client itself (MCP 2026-07-28, MRTR).

A question ends the run of the tool. The client asks, calls again with the answers, and the tool
runs again from its start. Nothing is kept in between: the earlier answers come back with the call.
An answer counts for the very question that was asked, so one that reads otherwise is asked anew.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

from mcp.server.elicitation import render_elicitation_schema
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import (
    ClientCapabilities,
    CreateMessageRequest,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitationCapability,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    ElicitResult,
    FormElicitationCapability,
    InputRequest,
    InputResponse,
    ListRootsRequest,
    ListRootsResult,
    RootsCapability,
    SamplingCapability,
    SamplingToolsCapability,
    UrlElicitationCapability,
)
from pydantic import BaseModel, TypeAdapter, ValidationError

Model = TypeVar("Model", bound=BaseModel)

ANY_FORM = ElicitRequest(params=ElicitRequestFormParams(message="", requested_schema={}))
"""Stands for every form: all need the same of a client."""

SAMPLED: TypeAdapter[InputResponse] = TypeAdapter(
    CreateMessageResult | CreateMessageResultWithTools
)


@dataclass(frozen=True)
class Answer(Generic[Model]):
    """What the person did with a form."""

    action: Literal["accept", "decline", "cancel"]
    """Sent it, refused, or closed it without a choice."""
    data: Model | None = None
    """What was sent; ``None`` unless the form was accepted."""


class CannotAsk(ToolError):
    """The client of this call cannot be asked this. Nobody saw the question."""

    def __init__(self, message: str, required: ClientCapabilities | None = None) -> None:
        super().__init__(message)
        self.required = required
        """What the client would have to declare; ``None`` if its protocol has no questions."""


class InputRequired(BaseException):
    """Ends a run of a tool that needs an answer.

    Not an :class:`Exception`, because the tool's own handlers must not take it for a failure.
    """


class Answered(BaseModel):
    """A question that was answered, as a digest, and the answer as it came."""

    question: str
    answer: dict[str, Any]


class Transcript(BaseModel):
    """What one run of a tool hands to the next one, by the keys of the questions."""

    asked: dict[str, str] = {}
    """The questions that are open, as digests."""
    answered: dict[str, Answered] = {}


@dataclass(frozen=True)
class Question:
    """A request to the client, and how its answer is read."""

    request: InputRequest
    read: Callable[[Mapping[str, Any]], Any]
    """Raises :class:`ValidationError` for what is no answer to this."""

    @classmethod
    def of(cls, request: InputRequest) -> "Question":
        """Return a question that takes whatever the protocol allows as its answer."""
        return cls(request, reader(request))

    @property
    def digest(self) -> str:
        """The question as one short string."""
        return hashlib.sha256(self.request.model_dump_json(by_alias=True).encode()).hexdigest()


class Interview:
    """The questions of one run of a tool.

    ``capabilities`` are the client's; ``None`` if its protocol has no questions, or if nobody is
    logged in. Of the ``responses`` that the call brought, those count that answer what ``earlier``
    asked. A call that brought no ``earlier`` was answered in advance: there the key alone decides.
    """

    def __init__(
        self,
        capabilities: ClientCapabilities | None,
        *,
        earlier: Transcript | None = None,
        responses: Mapping[str, InputResponse] = MappingProxyType({}),
    ) -> None:
        self._capabilities = capabilities
        self._earlier = earlier
        self._responses = responses
        self._answered: dict[str, Answered] = {}
        self._forms = 0
        self.open: dict[str, InputRequest] = {}
        """What the client has to be asked before the tool can go on."""

    @property
    def transcript(self) -> Transcript:
        """What the next run has to be given."""
        asked = {key: Question.of(request).digest for key, request in self.open.items()}
        return Transcript(asked=asked, answered=self._answered)

    @property
    def brief(self) -> dict[str, Any]:
        """What it was made of, for another process to conduct it."""
        return {
            "capabilities": self._capabilities,
            "earlier": self._earlier,
            "responses": {key: dump(response) for key, response in self._responses.items()},
        }

    def adopt(self, *, opened: Mapping[str, InputRequest], transcript: Transcript) -> None:
        """Take over what another process asked, and which answers it read."""
        self.open.update(opened)
        self._answered.update(transcript.answered)

    def is_repeated(self, key: str) -> bool:
        """Whether this question is open because the answer to it was none."""
        digest = self.transcript.asked[key]
        return self._earlier is not None and self._earlier.asked.get(key) == digest

    def next_key(self) -> str:
        """Return the key of a form whose author chose none: which one it is, from 1."""
        self._forms += 1
        return str(self._forms)

    def takes(self, request: InputRequest) -> bool:
        """Whether the client can be sent this request."""
        return self._capabilities is not None and self._lacks([request]) is None

    def _lacks(self, requests: Iterable[InputRequest]) -> ClientCapabilities | None:
        """Return what these need, unless the client declared all of it."""
        required = merge(needed(request) for request in requests)
        declared = dump(self._capabilities or ClientCapabilities())
        if declared.get("elicitation") == {}:
            declared["elicitation"] = {"form": {}}
        return None if covers(declared, dump(required)) else required

    def ask(self, questions: Mapping[str, Question]) -> dict[str, Any]:
        """Return the answer to each question, if all of them are answered.

        Raises :class:`InputRequired` otherwise, and :class:`CannotAsk`.
        """
        if self._capabilities is None:
            raise CannotAsk(
                "this client cannot be asked anything: that takes protocol 2026-07-28 and a login"
            )
        if required := self._lacks(question.request for question in questions.values()):
            missing = ", ".join(dump(required))
            raise CannotAsk(f"this client cannot be asked this: it lacks {missing}", required)
        answers = {key: self._answer(key, question) for key, question in questions.items()}
        if any(answer is None for answer in answers.values()):
            raise InputRequired
        return answers

    def _answer(self, key: str, question: Question) -> Any:
        """Return the answer; note the question as open, and return ``None``, without one."""
        digest = question.digest
        before = self._answered.get(key)
        other = self.open.get(key)
        if (before and before.question != digest) or (other and other != question.request):
            raise ValueError(f"the key {key!r} stands for another question in this call")
        for answer in self._given(key, digest):
            try:
                read = question.read(answer)
            except ValidationError:
                continue
            self._answered[key] = Answered(question=digest, answer=answer)
            return read
        self.open[key] = question.request
        return None

    def _given(self, key: str, digest: str) -> list[dict[str, Any]]:
        """Return what counts as an answer to this question, the older one first."""
        earlier = self._earlier
        given = []
        if earlier and key in earlier.answered and earlier.answered[key].question == digest:
            given.append(earlier.answered[key].answer)
        if key in self._responses and (earlier is None or earlier.asked.get(key) == digest):
            given.append(dump(self._responses[key]))
        return given


def form(message: str, model: type[Model]) -> Question:
    """Return the question that shows a person a form.

    Raises :class:`TypeError` for a model that is no form.
    """
    try:
        schema = render_elicitation_schema(model)
    except TypeError as error:
        raise TypeError(
            f"{model.__name__} is no form: only text, numbers, yes or no (bool) and choices "
            f"(Literal) can be asked for ({error})"
        ) from error

    def read(answer: Mapping[str, Any]) -> Answer[Model]:
        result = ElicitResult.model_validate(answer)
        accepted = result.action == "accept"
        return Answer(result.action, model.model_validate(result.content) if accepted else None)

    params = ElicitRequestFormParams(message=message, requested_schema=schema)
    return Question(ElicitRequest(params=params), read)


def reader(request: InputRequest) -> Callable[[Mapping[str, Any]], InputResponse]:
    """Return what reads an answer to the request, in the shape of the protocol."""
    match request:
        case ElicitRequest():
            return ElicitResult.model_validate
        case ListRootsRequest():
            return ListRootsResult.model_validate
        case _:
            return SAMPLED.validate_python


def needed(request: InputRequest) -> ClientCapabilities:
    """Return what a client must declare to be sent this request."""
    match request:
        case ElicitRequest(params=ElicitRequestURLParams()):
            elicitation = ElicitationCapability(url=UrlElicitationCapability())
            return ClientCapabilities(elicitation=elicitation)
        case ElicitRequest():
            elicitation = ElicitationCapability(form=FormElicitationCapability())
            return ClientCapabilities(elicitation=elicitation)
        case CreateMessageRequest(params=params) if params.tools or params.tool_choice:
            sampling = SamplingCapability(tools=SamplingToolsCapability())
            return ClientCapabilities(sampling=sampling)
        case CreateMessageRequest():
            return ClientCapabilities(sampling=SamplingCapability())
        case _:
            return ClientCapabilities(roots=RootsCapability())


def merge(capabilities: Iterable[ClientCapabilities]) -> ClientCapabilities:
    """Return the capabilities of all of them."""
    merged: dict[str, Any] = {}
    for capability in capabilities:
        for name, details in dump(capability).items():
            merged[name] = merged.get(name, {}) | details
    return ClientCapabilities.model_validate(merged)


def covers(declared: Mapping[str, Any], required: Mapping[str, Any]) -> bool:
    """Whether every capability that is required, details included, was declared."""
    return all(
        name in declared and covers(declared[name], details) for name, details in required.items()
    )


def dump(model: BaseModel) -> dict[str, Any]:
    """Return a part of a message as it is sent."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
