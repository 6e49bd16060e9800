// A colour for each class: light enough for any picture, far apart for classes that are neighbours in the list.

const COLOURS = [
  "#ffb000", "#4cc9f0", "#ff6b8b", "#8ce99a", "#c79bff", "#ff8f4d", "#63e6be", "#f783ff",
  "#ffe066", "#74a9ff", "#ff9fb2", "#b2f2bb", "#d0bfff", "#ffc078", "#66d9e8", "#eebefa",
];

/** The colour of a class, by its number in the model's list. */
export const colour = (classId) => COLOURS[classId % COLOURS.length];
