"""FOSSA: zero-shot metric depth from a focus stack (arXiv 2603.26658).

``factory.create_model`` makes a network, ``predictor.create_predictor`` an estimator. The package itself imports
neither, so that what needs no network starts without torch.
"""
