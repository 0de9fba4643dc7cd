"""Our memories inside other libraries; each module imports its host when it is used."""
