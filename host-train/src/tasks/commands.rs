//! Spoken commands of a home, to an action and its slots.

use crate::data::Pair;
use crate::nn::random::Random;
use crate::rng::{below, pick};

const ROOMS: [&str; 10] = [
    "kitchen",
    "bedroom",
    "bathroom",
    "living room",
    "hall",
    "office",
    "garage",
    "nursery",
    "dining room",
    "attic",
];
const COLORS: [&str; 6] = ["red", "green", "blue", "white", "yellow", "purple"];
const PLACES: [&str; 6] = ["front", "back", "side", "garage", "garden", "cellar"];
const BEFORE: [&str; 8] =
    ["", "", "please ", "could you ", "can you please ", "hey ", "i want you to ", "would you "];
const AFTER: [&str; 5] = ["", "", " please", " now", " thank you"];

/// A random command in a random wording.
pub(super) fn pair(random: &mut Random) -> Pair {
    let (said, action) = order(random);
    let source = format!("{}{said}{}", pick(random, &BEFORE), pick(random, &AFTER));
    Pair { source, target: action }
}

fn order(random: &mut Random) -> (String, String) {
    let room = pick(random, &ROOMS);
    let slot = room.replace(' ', "_");
    let lights = pick(random, &["light", "lights", "lamp", "lamps"]);
    let color = pick(random, &COLORS);
    let door = pick(random, &PLACES);
    let number = 1 + below(random, 99);
    let degrees = 15 + below(random, 13);
    match below(random, 12) {
        0 | 1 => {
            let on = pick(random, &["on", "off"]);
            let said = match below(random, 4) {
                0 => format!("turn {on} the {room} {lights}"),
                1 => format!("turn the {room} {lights} {on}"),
                2 => format!("switch {on} the {lights} in the {room}"),
                _ => format!("switch the {lights} in the {room} {on}"),
            };
            (said, format!("light.{on} {slot}"))
        }
        2 => {
            let said = match below(random, 3) {
                0 => format!("dim the {room} {lights} to {number} percent"),
                1 => format!("set the {lights} in the {room} to {number} percent"),
                _ => format!("make the {room} {lights} {number} percent bright"),
            };
            (said, format!("light.dim {slot} {number}"))
        }
        3 => {
            let said = match below(random, 2) {
                0 => format!("make the {room} {lights} {color}"),
                _ => format!("set the {lights} in the {room} to {color}"),
            };
            (said, format!("light.color {slot} {color}"))
        }
        4 | 5 => {
            let said = match below(random, 3) {
                0 => format!("set the {room} to {degrees} degrees"),
                1 => format!("heat the {room} to {degrees} degrees"),
                _ => format!("set the temperature in the {room} to {degrees}"),
            };
            (said, format!("heat.set {slot} {degrees}"))
        }
        6 => {
            let (warmer, action) =
                *pick_one(random, &[("warmer", "up"), ("colder", "down"), ("cooler", "down")]);
            (format!("make the {room} {warmer}"), format!("heat.{action} {slot}"))
        }
        7 => {
            let verb = pick(random, &["lock", "unlock", "open", "close"]);
            (format!("{verb} the {door} door"), format!("door.{verb} {door}"))
        }
        8 | 9 => {
            let unit = pick(random, &["seconds", "minutes", "hours"]);
            let said = match below(random, 3) {
                0 => format!("set a timer for {number} {unit}"),
                1 => format!("start a timer of {number} {unit}"),
                _ => format!("wake me in {number} {unit}"),
            };
            (said, format!("timer.start {number} {unit}"))
        }
        10 => {
            let verb = pick(random, &["open", "close"]);
            let what = pick(random, &["blinds", "curtains", "shutters"]);
            let said = match below(random, 2) {
                0 => format!("{verb} the {room} {what}"),
                _ => format!("{verb} the {what} in the {room}"),
            };
            (said, format!("cover.{verb} {slot}"))
        }
        _ => {
            let said = match below(random, 3) {
                0 => format!("what is the temperature in the {room}"),
                1 => format!("how warm is the {room}"),
                _ => format!("how cold is it in the {room}"),
            };
            (said, format!("heat.ask {slot}"))
        }
    }
}

fn pick_one<'a, T>(random: &mut Random, items: &'a [T]) -> &'a T {
    &items[below(random, items.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wording_has_one_meaning() {
        let mut meanings = std::collections::BTreeMap::new();
        let mut random = Random::new(6);
        for _ in 0..20_000 {
            let pair = pair(&mut random);
            let meaning = meanings.entry(pair.source.clone()).or_insert_with(|| pair.target.clone());
            assert_eq!(*meaning, pair.target, "{}", pair.source);
        }
        assert!(meanings.len() > 5_000, "{}", meanings.len());
        assert!(
            meanings.iter().any(|(said, action)| {
                said == "turn on the kitchen lights" && action == "light.on kitchen"
            })
        );
    }
}
