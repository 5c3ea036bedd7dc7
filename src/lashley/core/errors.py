"""What went wrong, why, and what to do next: in one line, never a traceback."""


class LashleyError(Exception):
    """Base of every error that a user can cause and mend. The command line prints it and exits with 2."""


class BadFact(LashleyError):
    """A fact, relation, subject, template or foil that cannot be asked about."""


class BadSite(LashleyError):
    """A site that does not parse, or that lies outside the model."""


class BadModel(LashleyError):
    """A model that cannot be found, read or trusted."""


class UnknownFamily(BadModel):
    """An architecture without an adapter under `engine/families/`."""


class BadPrompt(LashleyError):
    """A prompt that is empty, too long, or that does not align with its counterpart."""


class StudyConflict(LashleyError):
    """A study folder that was made with another model, other parameters or another schema."""


class BrokenStudy(LashleyError):
    """A study folder that is half-written, corrupt, read-only, or on a full disk."""
