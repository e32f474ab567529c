"""What a network has learned: saliency, feature visualisation and adversarial attacks."""
