/* data/tasks_words.c: what tasks of text are made of. Common nouns, most of them one token in English vocabularies, and
 * sentences of filler that say nothing about any of them. */
#include "data/tasks_parts.h"

const char *const rs_task_words[] = {
    "apple",  "anchor", "basket", "beach",  "bridge",   "candle", "carpet", "castle",  "cherry", "circle", "cloud",
    "copper", "corner", "cotton", "desert", "dragon",   "engine", "falcon", "feather", "forest", "garden", "ginger",
    "hammer", "harbor", "honey",  "island", "jacket",   "kettle", "ladder", "lemon",   "letter", "lion",   "magnet",
    "marble", "meadow", "mirror", "monkey", "mountain", "needle", "ocean",  "olive",   "orange", "oven",   "palace",
    "paper",  "pencil", "pepper", "pillow", "planet",   "pocket", "potato", "rabbit",  "ribbon", "river",  "rocket",
    "saddle", "salmon", "shadow", "silver", "spider",   "spoon",  "stone",  "sugar",   "table",  "temple", "thunder",
    "ticket", "tiger",  "tomato", "tower",  "tunnel",   "turtle", "valley", "velvet",  "violin", "wagon",  "walnut",
    "water",  "whale",  "window", "winter", "wizard",   "wolf",   "yellow",
};
const int64_t rs_task_word_count = sizeof rs_task_words / sizeof *rs_task_words;

const char *const rs_task_lines[] = {
    "The morning was quiet and nobody had much to say.",
    "A bus went by and the driver waved at the children.",
    "It had rained all week, so the ground was still soft.",
    "She read a few pages and then put the book away.",
    "They talked about the weather until the train arrived.",
    "Most people went home early on such days.",
    "He could not remember where he had left his coat.",
    "The music from next door was slow and rather sad.",
    "After lunch the streets were empty again.",
    "Nothing else happened before the evening.",
    "Someone had painted the fence green over the summer.",
    "We waited a long time, but the doctor did not come.",
    "The old man fed the birds every day after breakfast.",
    "Her brother worked in an office near the station.",
    "The meeting ended later than anyone had planned.",
    "A dog barked twice and then lay down in the sun.",
    "They had moved to the city when the war was over.",
    "The teacher asked the class to be patient.",
    "In the kitchen a radio was playing softly.",
    "He wrote a short note and left it on the chair.",
    "The road became narrow behind the last houses.",
    "Everybody agreed that the soup had been excellent.",
    "It was too dark to see who was standing there.",
    "She laughed, although the story was not very funny.",
    "The shop had been closed for almost a year.",
    "On the way back they hardly spoke at all.",
    "A light wind moved the leaves from time to time.",
    "The baker knew all of his customers by name.",
    "He promised to call as soon as he knew more.",
    "The museum opens late and closes early in spring.",
    "Two neighbours were arguing about a parking space.",
    "By the end of the month the work was nearly done.",
};
const int64_t rs_task_line_count = sizeof rs_task_lines / sizeof *rs_task_lines;
