"""Detections as text."""


def detection(found):
    """Such as: face 0.93 [113,32,152,91] (120,50) (140,51); the points are the landmarks, if there are any."""
    corners = (found.box.x1, found.box.y1, found.box.x2, found.box.y2)
    box = ",".join(f"{corner:.0f}" for corner in corners)
    points = "".join(f" ({point.x:.0f},{point.y:.0f})" for point in found.landmarks)
    return f"{found.label} {found.score:.2f} [{box}]{points}"
