"""Where bytes come from. :class:`~lora_tui.sources.base.Source` is the whole contract; the local disk implements it."""
