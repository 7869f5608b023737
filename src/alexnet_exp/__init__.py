"""What did each idea in AlexNet buy? Ablations of Krizhevsky, Sutskever and Hinton (2012)."""

__version__ = "0.1.0"
