//! Numbers for values: equal values get the same number, so that a state is a handful of numbers.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

pub struct Interner<T> {
    numbers: HashMap<Rc<T>, u32>,
    values: Vec<Rc<T>>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), values: Vec::new() }
    }
}

impl<T: Eq + Hash> Interner<T> {
    pub fn number(&mut self, value: T) -> u32 {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let (number, value) = (u32::try_from(self.values.len()).unwrap(), Rc::new(value));
        self.numbers.insert(Rc::clone(&value), number);
        self.values.push(value);
        number
    }

    pub fn value(&self, number: u32) -> Rc<T> {
        Rc::clone(&self.values[number as usize])
    }
}
