// What the server says in short, in words for a person.

const DEGRADED = {
  unknown_user: "This user is not known here",
  empty_history: "Nothing is known of this user's taste yet",
  unknown_items: "Nothing of this user's history is in the catalogue",
  no_recommender: "This catalogue has no recommender",
};

// "unknown_user: popularity" -> "This user is not known here: the most popular items are shown."
export function degradedInWords(text, isSearch) {
  const [why] = text.split(":");
  const what = isSearch ? "the order is the same for everyone" : "what most people choose is shown";
  return DEGRADED[why] ? `${DEGRADED[why]}: ${what}.` : text;
}

export const heardInWords = (text) => (text ? `Heard: “${text}”` : "No words were heard; the sound itself is compared.");

export function titleOf(state, kept) {
  const parts = [];
  if (state.like.length) parts.push(`like “${kept(state.like[0])}”`);
  const kinds = {image: "your picture", audio: "your recording", video: "your video"};
  for (const each of state.media) parts.push(`like ${kinds[each.kind]}`);
  const query = state.q ? `“${state.q}”` : "";
  if (!parts.length) return query;
  return query ? `${query}, ${parts.join(" and ")}` : `More ${parts.join(" and ")}`;
}
