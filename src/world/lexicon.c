/* Word lists. Order of rows: the enums and name tables of world.h. */
#include "world/lexicon.h"

const char *const swan_world_object_words[SWAN_WORLD_OBJECTS][SWAN_WORLD_WORDS_MAX] = {
    {"ball", "beach ball", "sphere"}, {"star"}, {"heart", "love heart"}, {"moon", "crescent moon", "crescent"},
    {"house", "cottage", "home"}, {"car", "automobile"}, {"boat", "sailboat", "ship"}, {"tree"}, {"fish"},
    {"cat", "kitten", "kitty"}, {"bird"}, {"balloon"}, {"rocket", "rocket ship", "spaceship"},
    {"mushroom", "toadstool"}, {"flower", "blossom"}, {"butterfly"}, {"cup", "mug"}, {"umbrella", "parasol"}, {"kite"},
    {"apple"}, {"duck", "rubber duck", "duckling"}, {"robot"}, {"crown"}, {"gift", "present", "gift box"},
    {"plane", "airplane", "aeroplane"}, {"ghost", "spook"}, {"bell"}, {"turtle", "tortoise"}};

const char *const swan_world_colour_words[SWAN_WORLD_COLOURS][SWAN_WORLD_WORDS_MAX] = {
    {"red", "crimson", "scarlet"}, {"orange"}, {"yellow", "golden"}, {"green", "emerald"}, {"blue", "azure"},
    {"purple", "violet"}, {"pink", "rosy"}, {"brown", "chocolate"}, {"white", "snowy"}, {"black", "dark"}};

const char *const swan_world_size_words[SWAN_WORLD_SIZES][SWAN_WORLD_WORDS_MAX] = {
    {"small", "little", "tiny"}, {"medium", "medium sized"}, {"big", "large", "huge", "giant"}};

const char *const swan_world_speed_words[SWAN_WORLD_SPEEDS][SWAN_WORLD_WORDS_MAX] = {
    {"slowly", "gently", "calmly"}, {"steadily"}, {"quickly", "fast", "rapidly", "swiftly"}};

const char *const swan_world_way_words[SWAN_WORLD_MOTIONS][SWAN_WORLD_WORDS_MAX] = {
    [SWAN_WORLD_RIGHT] = {"to the right", "right", "from left to right", "towards the right", "rightwards"},
    [SWAN_WORLD_LEFT] = {"to the left", "left", "from right to left", "towards the left", "leftwards"},
    [SWAN_WORLD_UP] = {"up", "upwards", "to the top", "upward"},
    [SWAN_WORLD_DOWN] = {"down", "downwards", "to the bottom", "downward"}};

#define ANY_TRAVEL {"moving", "moves"}, {"going", "goes"}, {"gliding", "glides"}, {"travelling", "travels"}
const swan_world_verb swan_world_motion_verbs[SWAN_WORLD_MOTIONS][SWAN_WORLD_WORDS_MAX] = {
    {{"standing still", "stands still"}, {"resting", "rests"}, {"not moving", "does not move"}, {"staying still", "stays still"},
     {"waiting", "waits"}},
    {ANY_TRAVEL, {"sliding", "slides"}, {"drifting", "drifts"}},
    {ANY_TRAVEL, {"sliding", "slides"}, {"drifting", "drifts"}},
    {ANY_TRAVEL, {"rising", "rises"}, {"climbing", "climbs"}},
    {ANY_TRAVEL, {"falling", "falls"}, {"sinking", "sinks"}},
    {{"bouncing", "bounces"}, {"jumping", "jumps"}, {"hopping", "hops"}, {"bouncing up and down", "bounces up and down"}},
    {{"spinning", "spins"}, {"rotating", "rotates"}, {"turning around", "turns around"}, {"twirling", "twirls"}},
    {{"circling", "circles"}, {"moving in a circle", "moves in a circle"}, {"going round in circles", "goes round in circles"},
     {"orbiting", "orbits"}},
    {{"growing", "grows"}, {"getting bigger", "gets bigger"}, {"coming closer", "comes closer"}},
    {{"shrinking", "shrinks"}, {"getting smaller", "gets smaller"}, {"going away", "goes away"}},
    {{"wobbling", "wobbles"}, {"swinging", "swings"}, {"rocking", "rocks"}, {"dancing", "dances"}}};

#define FLIES {"flying", "flies"}
#define FLOATS {"floating", "floats"}
#define ROLLS {"rolling", "rolls"}
#define WALKS {"walking", "walks"}
#define SWIMS {"swimming", "swims"}
const swan_world_verb swan_world_object_verb[SWAN_WORLD_OBJECTS] = {
    ROLLS, FLIES, FLOATS, FLOATS, FLOATS, {"driving", "drives"}, {"sailing", "sails"}, FLOATS, SWIMS, WALKS,
    FLIES, FLOATS, FLIES, FLOATS, FLOATS, FLIES, FLOATS, FLOATS, FLIES, ROLLS, SWIMS, WALKS, FLOATS, FLOATS,
    FLIES, FLOATS, FLOATS, {"crawling", "crawls"}};

const char *const swan_world_background_phrases[SWAN_WORLD_BACKGROUNDS][SWAN_WORLD_WORDS_MAX] = {
    {"on a white background", "on a plain white background", "in front of a white wall"},
    {"on a gray background", "on a grey background", "in front of a gray wall"},
    {"on a blue background", "on a light blue background", "in front of a blue wall"},
    {"on a pink background", "on a plain pink background", "in front of a pink wall"},
    {"on a yellow background", "on a pale yellow background", "in front of a yellow wall"},
    {"on a green background", "on a light green background", "in front of a green wall"},
    {"in the sky", "in the blue sky", "in a cloudy sky", "among the clouds"},
    {"at night", "in the night sky", "under the stars", "in a starry sky"},
    {"over green hills", "over the hills", "in a green meadow", "on the grass"},
    {"over the sea", "at sea", "on the ocean", "on the water", "above the waves"},
    {"in the desert", "over the sand", "on sand dunes", "in a sandy desert"},
    {"in the snow", "over a snowy field", "in winter", "on snowy hills"},
    {"at sunset", "at dusk", "in the evening sun", "in front of a sunset"},
    {"in the forest", "in the woods", "in a forest of pines", "in front of the pine trees"},
    {"in a room", "inside a room", "indoors", "in a room with a window"},
    {"in the city", "on a city street", "in front of tall buildings", "in town"}};

const char *const swan_world_background_nouns[SWAN_WORLD_BACKGROUNDS][SWAN_WORLD_WORDS_MAX] = {
    {"white background", "white wall"}, {"gray background", "grey background", "gray wall"},
    {"blue background", "blue wall"}, {"pink background", "pink wall"}, {"yellow background", "yellow wall"},
    {"green background", "green wall"}, {"in the sky", "blue sky", "cloudy sky", "clouds"},
    {"night sky", "night", "stars", "starry sky"}, {"green hills", "hills", "green meadow", "meadow", "grass"},
    {"sea", "ocean", "water", "waves"}, {"desert", "sand", "sandy desert", "sand dunes"},
    {"snow", "snowy field", "winter", "snowy hills"}, {"sunset", "dusk", "evening sun"},
    {"forest", "woods", "pine trees"}, {"room", "indoors", "window"}, {"city", "street", "tall buildings", "town"}};

const char *const swan_world_relation_words[SWAN_WORLD_RELATIONS][SWAN_WORLD_WORDS_MAX] = {
    {"next to", "beside", "near"},
    {"to the left of", "on the left of"},
    {"to the right of", "on the right of"},
    {"above", "on top of"},
    {"below", "under", "beneath"}};
