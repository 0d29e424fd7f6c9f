"""Judges that are language models behind an OpenAI-compatible chat endpoint.

``prompt`` says what is sent, ``answer`` reads what comes back, ``confidence`` how sure the model was of it; ``pace``
says when the next request may go and ``limits`` what a server says of that, ``client`` sends it and tries again,
``judge`` does so for a suite.
"""
