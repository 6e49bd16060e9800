// A colour for each class: bright enough for any picture, and far from those of its neighbours in the list.

/** The hue of the first class, in degrees, and the step to the next: the golden angle never comes back to a hue. */
const FIRST = 42;
const STEP = 137.508;
/** Blue is darker to the eye than green is: hues around it are lightened. */
const DARK_HUES = [200, 290];

const colours = new Map();

/** The colour of a class, by its number in the model's list: "rgb(255, 176, 0)". */
export function colour(classId) {
  if (!colours.has(classId)) {
    const hue = (FIRST + classId * STEP) % 360;
    const isDark = hue > DARK_HUES[0] && hue < DARK_HUES[1];
    colours.set(classId, rgb(hue, 0.92, isDark ? 0.72 : 0.62));
  }
  return colours.get(classId);
}

/** HSL as CSS writes RGB. */
function rgb(hue, saturation, lightness) {
  const reach = saturation * Math.min(lightness, 1 - lightness);
  const channel = (offset) => {
    const at = (offset + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(at - 3, 9 - at, 1))));
  };
  return `rgb(${channel(0)}, ${channel(8)}, ${channel(4)})`;
}
