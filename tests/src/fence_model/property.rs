//! What must hold in every world, and what must happen in some, lest the rest hold for want of anything happening.

use stateright::Property;

use super::{Fence, INPUTS, Output, POISON, Stage, States, World};

/// Steps within which one worker that is left alone has everything done. A batch takes 5, a rebuild 2 an input more.
const STEPS_ALONE_MAX: usize = 60;

pub(super) fn all() -> Vec<Property<Fence>> {
    vec![
        Property::always("outputs are the inputs, in order, none lost, none twice", |_, world: &World| in_order(world)),
        Property::always("what is acknowledged has its output", |_, world: &World| {
            world.acknowledged.iter().all(|input| world.outputs.iter().any(|output| output.input == *input))
        }),
        Property::always(
            "an output rests on what its predecessors left, and on nothing else",
            |fence: &Fence, world: &World| {
                let rests = |place: usize| world.outputs[place].from == left_by(world, &world.outputs[..place]);
                fence.stage == Stage::Relay || (0..world.outputs.len()).all(rests)
            },
        ),
        Property::always("the store holds what the chain up to its record left", |_, world: &World| {
            store_agrees(world)
        }),
        Property::always(
            "what is acknowledged is committed, unless the store forgot it",
            |fence: &Fence, world: &World| {
                let committed = |input: &u64| *input <= world.store.record.input || *input <= world.horizon();
                fence.stage == Stage::Relay || world.rollbacks > 0 || world.acknowledged.iter().all(committed)
            },
        ),
        Property::always("what is poisoned is buried before its place in the chain is taken", |_, world: &World| {
            world.buried || world.outputs.iter().all(|output| output.input != POISON)
        }),
        Property::always("nothing rests before all is acknowledged", |_, world: &World| {
            let mut events = Vec::new();
            world.orderly(&mut events);
            !events.is_empty() || world.acknowledged == INPUTS
        }),
        Property::always("a worker left alone ends its work", |fence: &Fence, world: &World| {
            (0..world.workers.len()).all(|name| ends_alone(world.clone(), name, fence))
        }),
        Property::sometimes("all is done though everything that may go wrong did", |fence: &Fence, world: &World| {
            world.acknowledged == INPUTS
                && world.rollbacks == fence.rollbacks_max
                && world.expiries == fence.expiries_max
                && world.lates == fence.late_max
        }),
        Property::sometimes("two workers are at one input", |_, world: &World| match &world.workers {
            [Some(one), Some(other)] => one.input() == other.input(),
            _ => false,
        }),
        Property::sometimes("a worker is at an input that another has done", |_, world: &World| {
            world.workers.iter().flatten().any(|work| world.acknowledged.contains(&work.input()))
        }),
        Property::sometimes("states are rebuilt", |fence: &Fence, world: &World| {
            fence.rollbacks_max == 0 || world.workers.iter().flatten().any(super::Work::is_rebuilding)
        }),
    ]
}

fn in_order(world: &World) -> bool {
    world.outputs.len() <= INPUTS.len() && world.outputs.iter().zip(INPUTS).all(|(output, input)| output.input == input)
}

/// The states that a stretch of the chain leaves, as far as anything of it is alive.
fn left_by(world: &World, chain: &[Output]) -> States {
    let live = |output: &&Output| output.input > world.horizon() && output.input != POISON;
    chain.iter().filter(live).map(|output| (output.input, output.epoch)).collect()
}

fn store_agrees(world: &World) -> bool {
    let record = &world.store.record;
    if record.input == 0 {
        return world.store.states.is_empty();
    }
    let Some(place) = world.outputs.iter().position(|output| output.input == record.input) else { return false };
    let output = &world.outputs[place];
    output.sequence == record.output
        && record.epoch.bytes().eq([output.epoch])
        && world.store.states == left_by(world, &world.outputs[..=place])
}

fn ends_alone(mut world: World, name: usize, fence: &Fence) -> bool {
    world.workers[1 - name] = None;
    for _ in 0..STEPS_ALONE_MAX {
        if world.workers[name].is_some() {
            world.step(name, fence);
        } else if world.pending.is_some() || world.given < INPUTS.len() {
            world.deliver(name, fence);
        } else {
            return true;
        }
    }
    false
}
